"""Image embeddings on disk, so that a process need not compute what another one has."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from forgetme.record.images import atomic_write

log = logging.getLogger(__name__)

LIMIT_BYTES = 4 * 2**30  # a thousand images of vit_h
_SUM = "sha256"
DAMAGED = (OSError, SafetensorError, KeyError, ValueError)
LOOK_EVERY = 64  # files written between looks at the folder's size


class EmbeddingFolder:
    """A bounded folder of embeddings, by the image's content and the weights that made them.

    Everything in it can be computed again: a damaged file counts as absent, and where nothing can
    be written the work goes on without. Any number of processes may use it at once.
    """

    def __init__(
        self, folder: str | os.PathLike[str], made_by: str, *, limit_bytes: int = LIMIT_BYTES
    ) -> None:
        """Opens the folder; it is made by the first `put`.

        Args:
            folder: where the files are.
            made_by: the model's name with its weights' signature; others' files are not taken.
            limit_bytes: when there is more, what was not used for longest is removed.
        """
        self.folder = Path(folder)
        self._signature = hashlib.sha256(made_by.encode()).hexdigest()[:16]
        self._limit = limit_bytes
        self._written = 0

    def get(self, image_sha: str, device: torch.device | str = "cpu") -> torch.Tensor | None:
        """Returns an image's embedding as `put` got it, bit for bit; None when it is not there."""
        path = self._path(image_sha)
        try:
            kept = _read(path)
            os.utime(path)  # used now: stays longer
        except FileNotFoundError:
            return None
        except DAMAGED as error:
            log.warning("%s cannot be used (%s); it is computed again", path, error)
            return None
        return kept.to(device)

    def put(self, image_sha: str, embedding: torch.Tensor) -> None:
        """Keeps an embedding; a disk that is full or read-only only costs time later."""
        path = self._path(image_sha)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            kept = embedding.detach().cpu().contiguous()
            atomic_write(path, save({"embedding": kept, _SUM: _sum(kept)}))
            if self._written % LOOK_EVERY == 0:
                self._trim()
        except OSError as error:
            log.warning("embeddings are not kept on disk, clicks may wait longer: %s", error)
        self._written += 1

    @staticmethod
    def problems(folder: Path) -> Iterator[str]:
        """Yields one sentence for each embedding below a folder that is not what was written."""
        for path in sorted(folder.glob("??/*.safetensors")):
            try:
                _read(path)
            except DAMAGED as error:
                yield f"{path} is damaged ({error}); it is computed again when it is needed"

    def _path(self, image_sha: str) -> Path:
        return self.folder / image_sha[:2] / f"{image_sha}.{self._signature}.safetensors"

    def _trim(self) -> None:
        files = []
        for path in self.folder.glob("??/*.safetensors"):
            try:
                found = path.stat()
            except FileNotFoundError:  # another process trims too
                continue
            files.append((found.st_mtime, found.st_size, path))
        surplus = sum(size for _, size, _ in files) - self._limit
        for _, size, path in sorted(files):
            if surplus <= 0:
                break
            path.unlink(missing_ok=True)
            surplus -= size


def _read(path: Path) -> torch.Tensor:
    tensors = load(path.read_bytes())
    kept = tensors["embedding"]
    known = tensors.get(_SUM)  # files of before it was kept have none
    if known is not None and not torch.equal(known, _sum(kept)):
        raise ValueError("it is not what was written")
    return kept


def _sum(embedding: torch.Tensor) -> torch.Tensor:
    values = embedding.flatten().view(torch.uint8).numpy()
    words = f"{embedding.dtype} {tuple(embedding.shape)}".encode()
    return torch.tensor(list(hashlib.sha256(words + values.tobytes()).digest()), dtype=torch.uint8)
