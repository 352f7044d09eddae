"""The dataset leaves the store: exports, downloads, push to the Hugging Face Hub; for leads.

Nothing long runs here: a route writes a job down and answers. A dataset is named, never a path.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, field_validator

from forgetme import jobs
from forgetme.curate.review import Review
from forgetme.dataset import store_folders, unpacking
from forgetme.dataset.importing import recognise
from forgetme.dataset.splits import Shares
from forgetme.errors import ForgetmeError
from forgetme.ui.jobs import view
from forgetme.ui.who import Lead

Json = dict[str, Any]
ExportFormat = Literal["folders", "parquet", "coco", "webdataset"]
ImportFormat = Literal["folders", "coco", "dataset", "webdataset"]
EXPORT_FORMATS: dict[ExportFormat, str] = {
    "folders": "PNG files in original/, foreground/, background/, mask/, and metadata.jsonl.",
    "parquet": "Shards with four Image columns, as the Hub's viewer and load_dataset want them.",
    "coco": "Original images and one JSON with run-length masks, for pycocotools.",
    "webdataset": "Tar shards that stream, for more than a million images.",
}
IMPORT_FORMATS: dict[ImportFormat, str] = {
    "folders": "original/, background/ and mask/: our export, or the paper authors' layout.",
    "coco": "One JSON with masks, and its images.",
    "parquet": "Parquet shards, as our export or load_dataset wrote them.",
    "webdataset": "Tar shards.",
}
LICENSES = (
    "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "odbl",
    "apache-2.0", "mit", "other", "unknown",
)  # fmt: skip
ERRANDS = ("export", "push", "import")
REPO = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}$"
MAX_CONCEPT = 200  # characters
MAX_JOBS = 6  # shown


class _Part(BaseModel):
    """Which samples, and how they are divided."""

    model_config = ConfigDict(extra="forbid", strict=True)
    concept: str | None = Field(default=None, min_length=1, max_length=MAX_CONCEPT)
    shares: str = Field(default="80/10/10", max_length=40)

    @field_validator("shares")
    @classmethod
    def _divides(cls, text: str) -> str:
        Shares.parse(text)
        return text


class Export(_Part):
    """A new export, or one again."""

    name: str = Field(pattern=store_folders.NAME)
    format: ExportFormat


class Push(_Part):
    """Where the dataset goes on the Hub."""

    repo: str = Field(pattern=REPO)
    private: bool = True
    dry_run: bool = False
    license: str | None = None

    @field_validator("license")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        if name is not None and name not in LICENSES:
            raise ValueError(f"choose one of {', '.join(LICENSES)}")
        return name


class Import(BaseModel):
    """A folder in the store's `imports/`."""

    model_config = ConfigDict(extra="forbid", strict=True)
    name: str = Field(pattern=store_folders.NAME)
    format: ImportFormat
    concept: str | None = Field(default=None, min_length=1, max_length=MAX_CONCEPT)


def router() -> APIRouter:
    """Builds the routes that only a lead may use."""
    routes = APIRouter(prefix="/api/data")

    @routes.get("/publish")
    def publish(review: Lead) -> Json:
        return _shown(review)

    @routes.post("/exports", status_code=202)
    def export(body: Export, review: Lead) -> Json:
        store_folders.export_path(review.store, body.name)  # a name that can be a folder's
        return _submit(review, "export", body)

    @routes.get("/exports/{name}.zip")
    def download(
        name: Annotated[str, Path(pattern=store_folders.NAME)], review: Lead
    ) -> StreamingResponse:
        found = store_folders.saved_export(review.store, name)
        headers = {
            "content-disposition": f'attachment; filename="{found.name}.zip"',
            "cache-control": "no-store",
        }
        pieces = store_folders.zipped(found)
        return StreamingResponse(pieces, media_type="application/zip", headers=headers)

    @routes.post("/push", status_code=202)
    def push(body: Push, review: Lead) -> Json:
        if not body.dry_run and not _token_there():
            raise ForgetmeError(
                "There is no access token of the Hugging Face Hub. Start ForgetMe with HF_TOKEN "
                "set to a token that may write, or try it out with a dry run."
            )
        return _submit(review, "push", body)

    @routes.post("/imports", status_code=202)
    def take_in(body: Import, review: Lead) -> Json:
        store_folders.import_path(review.store, body.name)  # there must be one
        return _submit(review, "import", body)

    @routes.post("/imports/upload")
    async def upload(
        request: Request,
        review: Lead,
        name: Annotated[str, Query(min_length=1, max_length=200)],
    ) -> Json:
        unpacking.kind_of(name)
        with unpacking.incoming(review.store) as (path, file):
            async for piece in request.stream():
                await asyncio.to_thread(file.write, piece)
            await asyncio.to_thread(file.flush)
            folder = await asyncio.to_thread(unpacking.unpack, review.store, name, path)
        return (await asyncio.to_thread(_shown, review)) | {"uploaded": folder}

    return routes


def _submit(review: Review, kind: str, body: BaseModel) -> Json:
    jobs.submit(review.store, kind, body.model_dump(), by=review.by)
    return _shown(review)


def _shown(review: Review) -> Json:
    store = review.store
    found = [job for job in jobs.list(store, limit=50) if job.kind in ERRANDS]
    return {
        "formats": EXPORT_FORMATS,
        "import_formats": IMPORT_FORMATS,
        "licenses": LICENSES,
        "token": _token_there(),
        "exports_folder": str(store_folders.exports_folder(store)),
        "imports_folder": str(store_folders.imports_folder(store)),
        "exports": [
            {**asdict(one), "path": str(one.path)} for one in store_folders.saved_exports(store)
        ],
        "imports": store_folders.importable(store),
        "looks_like": {
            name: recognise(store_folders.import_path(store, name))
            for name in store_folders.importable(store)
        },
        "jobs": [{**view(job), "arguments": job.arguments} for job in found[:MAX_JOBS]],
    }


def _token_there() -> bool:
    """Tells whether the Hub's own library finds a token, in HF_TOKEN or in its login file."""
    from huggingface_hub import get_token

    return get_token() is not None
