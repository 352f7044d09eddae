"""Pictures by content: the one way in which pixels leave the store, always as exact PNG."""

from __future__ import annotations

import io
import os
from typing import Annotated, Literal
from urllib.parse import urljoin

import gradio as gr
from fastapi import APIRouter, Path
from fastapi.responses import FileResponse, Response
from PIL import Image

from forgetme.curate.review import Review
from forgetme.errors import ForgetmeError
from forgetme.record.lru import Lru
from forgetme.ui.views import layers_key
from forgetme.ui.who import Viewer

Sha = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]
SampleId = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$")]
SIDES = (128, 256)  # px, the sizes of thumbnails
FOREVER = {"cache-control": "private, max-age=31536000, immutable"}  # a name is its content


class Thumbnails:
    """The latest thumbnails, kept in memory as PNG bytes."""

    def __init__(self, limit: int = 4000) -> None:
        """Keeps at most `limit` thumbnails."""
        self._kept: Lru[tuple[str, int], bytes] = Lru(limit)

    def get(self, review: Review, sha: str, side: int) -> bytes:
        """Returns the picture `sha` made to fit into `side` x `side` pixels."""
        return self._kept.made((sha, side), lambda: _thumbnail(review.store.blob_path(sha), side))


def _thumbnail(path: os.PathLike[str], side: int) -> bytes:
    with Image.open(path, formats=("PNG",)) as picture:
        picture.thumbnail((side, side))
        buffer = io.BytesIO()
        picture.save(buffer, format="PNG")
    return buffer.getvalue()


def base(request: gr.Request) -> str:
    """Returns where our routes lie as the browser sees them, for parts that need a whole address.

    The page that asks says where it is; a proxy may know this server by another name.
    """
    page = request.headers.get("referer") or str(request.request.base_url)
    return urljoin(page, "forgetme/")


def router() -> APIRouter:
    """Builds the picture routes."""
    routes = APIRouter()
    thumbnails = Thumbnails()

    @routes.get("/picture/{sha}.png")
    def picture(sha: Sha, review: Viewer) -> Response:
        return FileResponse(review.store.blob_path(sha), media_type="image/png", headers=FOREVER)

    @routes.get("/thumbnail/{side}/{sha}.png")
    def thumbnail(side: Literal["128", "256"], sha: Sha, review: Viewer) -> Response:
        data = thumbnails.get(review, sha, int(side))
        return Response(data, media_type="image/png", headers=FOREVER)

    @routes.get("/sample/{sample_id}/{key}/{what}.png")
    def layer(
        sample_id: SampleId,
        key: Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")],
        what: Literal["foreground", "merged", "mask"],
        review: Viewer,
    ) -> Response:
        row = review.store.sample(sample_id)
        if layers_key(row) != key:
            raise ForgetmeError("This picture was replaced by a newer one; reload the sample.")
        return Response(review.picture(row, what), media_type="image/png", headers=FOREVER)

    return routes
