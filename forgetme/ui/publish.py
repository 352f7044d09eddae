"""The dataset leaves the store: exports, downloads, push to the Hugging Face Hub; for leads.

Nothing long runs here: a route writes a job down and answers. A dataset is named, never a path.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated, Any, Literal, get_args

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import AfterValidator, ConfigDict, Field, StrictBool
from pydantic.dataclasses import dataclass

from forgetme import jobs
from forgetme.curate.review import Review
from forgetme.dataset import store_folders, unpacking
from forgetme.dataset.splits import Shares
from forgetme.errors import ForgetmeError
from forgetme.ui.jobs import view
from forgetme.ui.who import Lead

Json = dict[str, Any]
ExportFormat = Literal["folders", "parquet", "coco", "webdataset"]
ImportFormat = Literal["folders", "parquet", "coco", "webdataset"]
EXPORT_FORMATS: dict[ExportFormat, str] = {
    "folders": "PNG files in original/, foreground/, background/, mask/, and metadata.jsonl.",
    "parquet": "Shards with four Image columns, as the Hub's viewer and load_dataset want them.",
    "coco": "Original images and one JSON with run-length masks, for pycocotools.",
    "webdataset": "Tar shards that stream, for more than a million images.",
}
IMPORT_FORMATS: dict[ImportFormat, str] = {
    "folders": "original/, background/ and mask/: our export, or the paper authors' layout.",
    "parquet": "Parquet shards, as our export or load_dataset wrote them.",
    "coco": "One JSON with masks, and its images.",
    "webdataset": "Tar shards.",
}
License = Literal[
    "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "odbl",
    "apache-2.0", "mit", "other", "unknown",
]  # fmt: skip
ERRANDS = ("export", "push", "import")
LICENSES = get_args(License)
REPO = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}$"
MAX_CONCEPT = 200  # characters
ASKED = ConfigDict(extra="forbid")


def _divides(text: str) -> str:
    Shares.parse(text)
    return text


JobId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
Name = Annotated[str, Field(pattern=store_folders.NAME)]
Concept = Annotated[str, Field(min_length=1, max_length=MAX_CONCEPT)] | None
Divided = Annotated[str, Field(max_length=40), AfterValidator(_divides)]


@dataclass(frozen=True, config=ASKED)
class Export:
    """A new export, or one again.

    Attributes:
        format: how the files are laid out.
        name: letters, digits, dots, dashes and underscores.
        concept: None is all.
        shares: percent for train, validation and test.
    """

    name: Name = "dataset"
    format: ExportFormat = "folders"
    concept: Concept = None
    shares: Divided = "80/10/10"


@dataclass(frozen=True, config=ASKED)
class Push:
    """What goes to the Hub, and where.

    Attributes:
        repo: user/name.
        private: only you and your team see it.
        dry_run: say what would be sent, send nothing.
        license: None leaves it as before.
        concept: None is all.
        shares: percent for train, validation and test.
    """

    repo: Annotated[str, Field(pattern=REPO)]
    private: StrictBool = True
    dry_run: StrictBool = False
    license: License | None = None
    concept: Concept = None
    shares: Divided = "80/10/10"


@dataclass(frozen=True, config=ASKED)
class Import:
    """A folder in the store's `imports/`.

    Attributes:
        name: of the folder.
        format: how its files are laid out.
        concept: None is what the dataset says.
    """

    name: Name
    format: ImportFormat
    concept: Concept = None


# ------------------------------ acts


def export_dataset(review: Review, export: Export) -> Json:
    """Writes the accepted samples into a folder of the store, as a job."""
    store_folders.export_path(review.store, export.name)  # a name that can be a folder's
    return _submit(review, "export", export)


def push_dataset(review: Review, push: Push) -> Json:
    """Sends the accepted samples to the Hugging Face Hub, as a job; or says what it would send."""
    if not push.dry_run and not token_there():
        raise ForgetmeError(
            "There is no access token of the Hugging Face Hub. Start ForgetMe with HF_TOKEN "
            "set to a token that may write, or try it out with a dry run."
        )
    return _submit(review, "push", push)


def import_dataset(review: Review, folder: Import) -> Json:
    """Takes in a dataset that lies in the store's `imports/`, as a job."""
    store_folders.import_path(review.store, folder.name)  # there must be one
    return _submit(review, "import", folder)


def stop_job(review: Review, job_id: JobId) -> Json:
    """Ends an export, a push or an import after its step."""
    return view(jobs.stop(review.store, job_id, review.by))


def published(review: Review) -> Json:
    """Tells of the exports there are, of what can be imported, and of the last jobs of each."""
    store = review.store
    found = [job for job in jobs.list(store, limit=50) if job.kind in ERRANDS]
    return {
        "exports_folder": str(store_folders.exports_folder(store)),
        "imports_folder": str(store_folders.imports_folder(store)),
        "exports": [_kept(one) for one in store_folders.saved_exports(store)],
        "imports": store_folders.importable(store),
        "token": token_there(),
        "jobs": [{**view(job), "arguments": job.arguments} for job in found],
    }


# ------------------------------ files


def router() -> APIRouter:
    """Builds the routes that only a lead may use."""
    routes = APIRouter(prefix="/api/data")

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
        return {"uploaded": folder}

    return routes


def _submit(review: Review, kind: str, asked: Export | Push | Import) -> Json:
    return view(jobs.submit(review.store, kind, asdict(asked), by=review.by))


def _kept(one: store_folders.SavedExport) -> Json:
    told = asdict(one)  # what has a `path` is a file to Gradio's client
    return {"folder": str(told.pop("path")), **told}


def token_there() -> bool:
    """Tells whether the Hub's own library finds a token, in HF_TOKEN or in its login file."""
    from huggingface_hub import get_token

    return get_token() is not None
