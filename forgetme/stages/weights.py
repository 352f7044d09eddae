"""Published checkpoints on this machine: found, checked by hash, and downloaded."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from forgetme.errors import MissingModelError
from forgetme.record.files import file_sha256
from forgetme.record.images import atomic_write
from forgetme.stages.fetching import Progress, fetch, read_json
from forgetme.stages.published import PUBLISHED, PublishedFile, PublishedFolder


class _Lfs(BaseModel):
    oid: str = Field(pattern=r"^[0-9a-f]{64}$")


class _Listed(BaseModel):
    """A file of a repository, as the hub lists it; of its names only those we know are used."""

    path: str
    size: int = Field(default=0, ge=0, lt=2**40)
    lfs: _Lfs | None = None


_LISTING = TypeAdapter(list[_Listed])


def default_cache() -> Path:
    """Says where downloads go when nothing else is said: `~/.cache/forgetme`."""
    return Path.home() / ".cache" / "forgetme"


def locate(
    name: str,
    *,
    cache: Path | None = None,
    published: Mapping[str, PublishedFile | PublishedFolder] = PUBLISHED,
) -> Path:
    """Finds a downloaded checkpoint without reading it.

    Args:
        name: A key of `PUBLISHED`.
        cache: Folder of the downloads; None = `default_cache()`.
        published: The known checkpoints.

    Returns:
        The file, or the folder of a diffusion model.

    Raises:
        ValueError: The name is unknown.
        MissingModelError: It was not downloaded, or not to its end; the message names the command.
    """
    weight = _known(name, published)
    path = _home(name, weight, cache)
    mark = _mark(path)
    if mark is None or any(
        not (path / file).is_file() or (path / file).stat().st_size != size
        for file, size, _ in mark
    ):
        raise MissingModelError(
            f"the weights of {name} are not on this machine ({weight.size / 1e9:.1f} GB, "
            f"{weight.licence}); run `python -m forgetme doctor --download {name}`"
        )
    return path / _wanted(weight)


def check(
    name: str,
    *,
    cache: Path | None = None,
    published: Mapping[str, PublishedFile | PublishedFolder] = PUBLISHED,
) -> tuple[Path, str]:
    """Finds a downloaded checkpoint and checks its hash.

    A file whose size and time have not changed since its hash was last checked is not read again.

    Args:
        name: A key of `PUBLISHED`.
        cache: Folder of the downloads; None = `default_cache()`.
        published: The known checkpoints.

    Returns:
        What `locate` returns, and the sha256 of the file (of a folder: of its files' hashes).

    Raises:
        ValueError: The name is unknown.
        MissingModelError: It is not there, or a file is not what was downloaded.
    """
    found = locate(name, cache=cache, published=published)
    weight = published[name]
    path = _home(name, weight, cache)
    for file, _, sha256 in _mark(path):
        if _unchanged_sha(path / file) != sha256:
            raise MissingModelError(
                f"{path / file} is damaged: its sha256 is not {sha256[:8]}…; delete it and run "
                f"`python -m forgetme doctor --download {name}`"
            )
    return found, _sum(_mark(path))


def download(
    name: str,
    progress: Progress | None = None,
    *,
    cache: Path | None = None,
    hub: str = "https://huggingface.co",
    published: Mapping[str, PublishedFile | PublishedFolder] = PUBLISHED,
    first_wait: float = 1.0,
) -> Path:
    """Downloads a published checkpoint, or what is left of it, and checks its hash.

    Args:
        name: A key of `PUBLISHED`.
        progress: Called with (bytes done, bytes in all); an exception raised by it stops the
            download, which the next call resumes.
        cache: Folder of the downloads; None = `default_cache()`.
        hub: Address of the Hugging Face hub or of a mirror of it.
        published: The known checkpoints.
        first_wait: Seconds before the second attempt; doubled for each further one.

    Returns:
        The file, or the folder of a diffusion model.

    Raises:
        ValueError: The name is unknown.
        MissingModelError: The server has no such file, does not answer, or sends wrong bytes.
        DiskFullError: There is no room for it.
    """
    weight = _known(name, published)
    path = _home(name, weight, cache)
    path.mkdir(parents=True, exist_ok=True)
    if isinstance(weight, PublishedFile):
        files = [(_file_name(weight), weight.url, weight.size, weight.sha256)]
    else:
        files = _listed(weight, hub, first_wait)
    total, done = sum(size for _, _, size, _ in files), 0
    mark = []
    for file, url, size, sha256 in files:
        target = path / file
        target.parent.mkdir(parents=True, exist_ok=True)
        if not _is_whole(target, size, sha256):
            fetch(
                url,
                target,
                size=size,
                sha256=sha256,
                progress=None if progress is None else _shifted(progress, done, total),
                first_wait=first_wait,
            )
        done += size
        if progress is not None:
            progress(done, total)
        mark.append((file, size, _unchanged_sha(target)))
    atomic_write(path / "complete.json", json.dumps(mark, indent=1).encode())
    return path / _wanted(weight)


def folder_sha256(folder: Path) -> str:
    """Computes one sha256 of all safetensors and JSON files below a folder, names included."""
    files = sorted(p for p in folder.rglob("*") if p.suffix in (".safetensors", ".json"))
    return _sum([(p.relative_to(folder).as_posix(), 0, file_sha256(p)) for p in files])


def _listed(
    weight: PublishedFolder, hub: str, first_wait: float
) -> list[tuple[str, str, int, str | None]]:
    """Asks the hub for the sizes and hashes of a repository's files."""
    base = hub.rstrip("/")
    listing = read_json(
        f"{base}/api/{weight.kind}/{weight.repo}/tree/{weight.revision}?recursive=true", first_wait
    )
    home = f"{base}/{weight.repo}" if weight.kind == "models" else f"{base}/spaces/{weight.repo}"
    try:
        known = {entry.path: entry for entry in _LISTING.validate_python(listing)}
    except ValidationError as error:
        raise MissingModelError(
            f"{base} sent no list of the files of {weight.repo} "
            f"({error.errors()[0]['msg']}); try another network, or give the path of your own copy"
        ) from None
    absent = [file for file in weight.files if file not in known]
    if absent:
        raise MissingModelError(
            f"{home} no longer has {', '.join(absent)} at {weight.revision}; "
            "give the path of your own copy"
        )
    return [
        (
            file,
            f"{home}/resolve/{weight.revision}/{file}",
            known[file].size,
            known[file].lfs.oid if known[file].lfs else None,
        )
        for file in weight.files
    ]


def _known(
    name: str, published: Mapping[str, PublishedFile | PublishedFolder]
) -> PublishedFile | PublishedFolder:
    if name not in published:
        raise ValueError(f"unknown weights {name!r}; known: {', '.join(published)}")
    return published[name]


def _home(name: str, weight: PublishedFile | PublishedFolder, cache: Path | None) -> Path:
    return (cache or default_cache()) / name.replace("/", "--")


def _wanted(weight: PublishedFile | PublishedFolder) -> str:
    return _file_name(weight) if isinstance(weight, PublishedFile) else weight.single or ""


def _file_name(weight: PublishedFile) -> str:
    return weight.url.rsplit("/", 1)[-1]


def _mark(path: Path) -> list[tuple[str, int, str]] | None:
    """Reads the list of (file, size, sha256) that ends a download; None where it never ended."""
    mark = path / "complete.json"
    return [tuple(row) for row in json.loads(mark.read_text())] if mark.is_file() else None


def _sum(mark: list[tuple[str, int, str]]) -> str:
    if len(mark) == 1:
        return mark[0][2]
    return hashlib.sha256("\n".join(f"{sha} {file}" for file, _, sha in mark).encode()).hexdigest()


def _is_whole(path: Path, size: int, sha256: str | None) -> bool:
    if not path.is_file() or path.stat().st_size != size:
        return False
    return sha256 is None or _unchanged_sha(path) == sha256


def _unchanged_sha(path: Path) -> str:
    """Gives a file's sha256, kept beside it for as long as its size and time stay the same."""
    stamp = f"{path.stat().st_size} {path.stat().st_mtime_ns}"
    note = path.with_name(path.name + ".sha256")
    if note.is_file():
        sha256, _, seen = note.read_text().partition(" ")
        if seen == stamp:
            return sha256
    sha256 = file_sha256(path)
    if os.access(path.parent, os.W_OK):
        atomic_write(note, f"{sha256} {stamp}".encode())
    return sha256


def _shifted(progress: Progress, before: int, total: int) -> Progress:
    return lambda done, _: progress(before + done, total)
