"""Published checkpoints: where they are, what they must be, and a download that can resume."""

from __future__ import annotations

import errno
import hashlib
import http.client
import json
import logging
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from forgetme.errors import DiskFullError, ForgetmeError, MissingModelError
from forgetme.record.images import atomic_write

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]  # (bytes done, bytes in all)

_SAM = "https://dl.fbaipublicfiles.com/segment_anything/"
_CHUNK = 1 << 20  # bytes a read
_TIMEOUT = 30  # seconds without a byte
_ATTEMPTS = 5
_FOR_GOOD = (400, 401, 403, 404, 410, 451)  # answers that asking again does not change


@dataclass(frozen=True)
class PublishedFile:
    """One file at a fixed address with a known hash."""

    url: str
    sha256: str
    size: int  # bytes
    licence: str


@dataclass(frozen=True)
class PublishedFolder:
    """Some files of a Hugging Face repository; sizes and hashes come from its own listing."""

    repo: str
    revision: str
    files: tuple[str, ...]
    size: int  # bytes, about
    licence: str
    single: str | None = None  # the one file that a loader wants, where it is not the folder
    kind: Literal["models", "spaces"] = "models"  # of repository


class _Lfs(BaseModel):
    oid: str = Field(pattern=r"^[0-9a-f]{64}$")


class _Listed(BaseModel):
    """A file of a repository, as the hub lists it; of its names only those we know are used."""

    path: str
    size: int = Field(default=0, ge=0, lt=2**40)
    lfs: _Lfs | None = None


_LISTING = TypeAdapter(list[_Listed])
_MOST_LISTING = 16 * 2**20  # bytes

_DIFFUSION_FILES = (
    "model_index.json",
    "scheduler/scheduler_config.json",
    "tokenizer/merges.txt",
    "tokenizer/special_tokens_map.json",
    "tokenizer/tokenizer_config.json",
    "tokenizer/vocab.json",
    "text_encoder/config.json",
    "text_encoder/model.fp16.safetensors",
    "unet/config.json",
    "unet/diffusion_pytorch_model.fp16.safetensors",
    "vae/config.json",
    "vae/diffusion_pytorch_model.fp16.safetensors",
)

# Sizes and hashes of the fixed files are stated alike by several independent public projects.
# UNCONFIRMED: "main" of the CLIP and CLIPAway repositories may move; their files are checked
# against the hash that the hub lists, and the hash that was found is kept beside them.
PUBLISHED: Mapping[str, PublishedFile | PublishedFolder] = {
    "sam-vit-h": PublishedFile(
        _SAM + "sam_vit_h_4b8939.pth",
        "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        2_564_550_879,
        "Apache-2.0",
    ),
    "sam-vit-l": PublishedFile(
        _SAM + "sam_vit_l_0b3195.pth",
        "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
        1_249_524_607,
        "Apache-2.0",
    ),
    "sam-vit-b": PublishedFile(
        _SAM + "sam_vit_b_01ec64.pth",
        "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        375_042_383,
        "Apache-2.0",
    ),
    "ViT-L-14-quickgelu/openai": PublishedFolder(
        "timm/vit_large_patch14_clip_224.openai",
        "main",
        ("open_clip_model.safetensors",),
        1_710_000_000,
        "MIT",
        single="open_clip_model.safetensors",
    ),
    "ViT-B-32-quickgelu/openai": PublishedFolder(
        "timm/vit_base_patch32_clip_224.openai",
        "main",
        ("open_clip_model.safetensors",),
        605_000_000,
        "MIT",
        single="open_clip_model.safetensors",
    ),
    "big-lama": PublishedFile(
        "https://github.com/enesmsahin/simple-lama-inpainting/releases/download/v0.1.0/big-lama.pt",
        "344c77bbcb158f17dd143070d1e789f38a66c04202311ae3a258ef66667a9ea9",
        205_669_692,
        "Apache-2.0",
    ),
    "sd15": PublishedFolder(
        "stable-diffusion-v1-5/stable-diffusion-v1-5",
        "451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
        _DIFFUSION_FILES,
        2_130_000_000,
        "CreativeML OpenRAIL-M",
    ),
    "sd15-inpaint": PublishedFolder(
        "stable-diffusion-v1-5/stable-diffusion-inpainting",
        "8a4288a76071f7280aedbdb3253bdb9e9d5d84bb",
        _DIFFUSION_FILES,
        2_130_000_000,
        "CreativeML OpenRAIL-M",
    ),
    "clipaway": PublishedFolder(
        "yigitekin/CLIPAway",
        "main",
        ("clip_l14_grit+mim_fultune_6xe.pth", "model.safetensors", "ip-adapter_sd15.bin"),
        1_290_000_000,
        "MIT, Apache-2.0",
        kind="spaces",
    ),
}


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


def fetch(
    url: str,
    path: Path,
    *,
    size: int | None = None,
    sha256: str | None = None,
    progress: Progress | None = None,
    first_wait: float = 1.0,
) -> None:
    """Downloads one file, resuming a part of it, and puts it in place only when it is right.

    Args:
        url: Address of the file, http or https.
        path: Where it goes; the unfinished part lies beside it as `.part`.
        size: Bytes it must have; None = what the server says.
        sha256: Hash it must have; None = unchecked.
        progress: Called with (bytes done, bytes in all).
        first_wait: Seconds before the second attempt; doubled for each further one.

    Raises:
        MissingModelError: The server has no such file, does not answer, or sends wrong bytes.
        DiskFullError: There is no room for it.
    """
    part = path.with_name(path.name + ".part")
    if part.exists() and size is not None and part.stat().st_size > size:
        part.unlink()
    _check_room(path, (size or 0) - (part.stat().st_size if part.exists() else 0))
    problem = "it was not tried"
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(first_wait * 2 ** (attempt - 1))
        try:
            problem = _continue(url, part, size, progress)
        except urllib.error.HTTPError as error:
            if error.code in _FOR_GOOD:
                raise MissingModelError(
                    f"{url} answered {error.code} {error.reason}; download the file by hand "
                    f"to {path}, or give the path of your own copy"
                ) from error
            problem = f"the server answered {error.code} {error.reason}"
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            if getattr(error, "errno", None) == errno.ENOSPC:
                raise _full(path) from error
            problem = str(getattr(error, "reason", error)) or type(error).__name__
        if problem is None:
            break
        log.warning("download of %s stopped: %s", url, problem)
    else:
        raise MissingModelError(
            f"{url} could not be downloaded: {problem}; run the same command again, "
            "it goes on where it stopped"
        )
    if sha256 is not None and (got := file_sha256(part)) != sha256:
        part.unlink()
        raise MissingModelError(
            f"{url} sent other bytes than were published: sha256 must be {sha256}, got {got}; "
            "what was downloaded is deleted, try again from another network"
        )
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(part, path)


def file_sha256(path: Path) -> str:
    """Computes the sha256 of a file as 64 hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def folder_sha256(folder: Path) -> str:
    """Computes one sha256 of all safetensors and JSON files below a folder, names included."""
    files = sorted(p for p in folder.rglob("*") if p.suffix in (".safetensors", ".json"))
    return _sum([(p.relative_to(folder).as_posix(), 0, file_sha256(p)) for p in files])


def _continue(url: str, part: Path, size: int | None, progress: Progress | None) -> str | None:
    """Reads on from where the part ends.

    Returns:
        None when all bytes are there, otherwise what is wrong.
    """
    have = part.stat().st_size if part.exists() else 0
    if size is not None and have == size:
        return None
    headers = {"User-Agent": "forgetme"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        answer = urllib.request.urlopen(  # noqa: S310 (addresses are ours or the user's)
            urllib.request.Request(url, headers=headers), timeout=_TIMEOUT
        )
    except urllib.error.HTTPError as error:
        if error.code == 416:  # the part is longer than the file: start over
            part.unlink()
            return "the server's file is shorter than the part that was there"
        raise
    with answer:
        if answer.status != 206:
            have = 0  # the server does not resume, so it sends everything
        length = answer.headers.get("Content-Length")
        total = size or (have + int(length) if length else 0)
        with part.open("ab" if have else "wb") as file:
            while chunk := answer.read(_CHUNK):
                file.write(chunk)
                have += len(chunk)
                if progress is not None:
                    progress(have, total)
    if total and have < total:
        return f"the connection closed after {have} of {total} bytes"
    if total and have > total:
        part.unlink()
        return f"the server sent {have} bytes instead of {total}"
    return None


def _listed(
    weight: PublishedFolder, hub: str, first_wait: float
) -> list[tuple[str, str, int, str | None]]:
    """Asks the hub for the sizes and hashes of a repository's files."""
    base = hub.rstrip("/")
    listing = _read_json(
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


def _read_json(url: str, first_wait: float) -> Any:
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(first_wait * 2 ** (attempt - 1))
        try:
            with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer:  # noqa: S310
                text = answer.read(_MOST_LISTING + 1)
                if len(text) > _MOST_LISTING:
                    raise MissingModelError(f"{url} sent more than {_MOST_LISTING} bytes")
                return json.loads(text)
        except urllib.error.HTTPError as error:
            problem = f"{error.code} {error.reason}"
            if error.code in _FOR_GOOD:
                break
        except (OSError, http.client.HTTPException, ValueError, RecursionError) as error:
            problem = str(getattr(error, "reason", error))
    raise MissingModelError(f"{url} could not be read: {problem}; check the network and try again")


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


def _check_room(path: Path, needed: int) -> None:
    if shutil.disk_usage(path.parent).free < needed:
        raise _full(path)


def _full(path: Path) -> ForgetmeError:
    free = shutil.disk_usage(path.parent).free
    return DiskFullError(
        f"no room for {path.name}: {path.parent} has {free / 1e9:.1f} GB left; free some, "
        "then run the same command again"
    )


def _shifted(progress: Progress, before: int, total: int) -> Progress:
    return lambda done, _: progress(before + done, total)
