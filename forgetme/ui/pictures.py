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
NONE = "none"
PartSha = Annotated[str, Path(pattern=rf"^([0-9a-f]{{64}}|{NONE})$")]
SampleId = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$")]
SIDES = (128, 256)  # px, the sizes of thumbnails
QUAD_GAP = 4  # px, between the four small pictures of a sample
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


def _quad(thumbnails: Thumbnails, review: Review, shas: tuple[str | None, ...]) -> bytes:
    """Lays out original and foreground above background and mask; what is missing stays empty."""
    side = SIDES[0]
    original, mask, background = (
        sha and Image.open(io.BytesIO(thumbnails.get(review, sha, side))).convert("RGBA")
        for sha in shas
    )
    foreground = None
    if original and mask:
        foreground = original.copy()
        foreground.putalpha(mask.convert("L").resize(original.size))
    whole = Image.new("RGBA", (2 * side + QUAD_GAP, 2 * side + QUAD_GAP))
    for place, one in enumerate((original, foreground, background, mask)):
        if one:
            corner = [(side + QUAD_GAP) * at for at in (place % 2, place // 2)]
            whole.paste(one, [corner[at] + (side - one.size[at]) // 2 for at in (0, 1)])
    buffer = io.BytesIO()
    whole.save(buffer, format="PNG")
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

    @routes.get("/quad/{image}/{mask}/{background}.png")
    def quad(image: PartSha, mask: PartSha, background: PartSha, review: Viewer) -> Response:
        shas = tuple(None if one == NONE else one for one in (image, mask, background))
        return Response(_quad(thumbnails, review, shas), media_type="image/png", headers=FOREVER)

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
