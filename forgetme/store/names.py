"""Names from outside become file stems here, and nowhere else."""

import hashlib
import os
import re
import unicodedata
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from forgetme.errors import ForgetmeError
from forgetme.record.images import IMAGE_SUFFIXES, PHONE_SUFFIXES

MAX_CONCEPT_CHARS = 200
MAX_STEM_BYTES = 120  # leaves room for a suffix below the 255 of common file systems

_FORBIDDEN = '<>:"/\\|?*'
_RESERVED = {"con", "prn", "aux", "nul", *(f"{d}{i}" for d in ("com", "lpt") for i in range(1, 10))}


def safe_stem(name: str) -> str:
    r"""Returns a file stem that is `name` wherever `name` is one, on every common system.

    Separators, control characters and what Windows refuses become "_"; letters of any script,
    spaces and emoji stay. Two names can share a stem: who needs it unique adds a suffix.

    Args:
        name: any text.

    Returns:
        1 to 120 bytes of UTF-8 that name one entry of a folder, never ".", ".." or a hidden file.

    Example:
        >>> safe_stem("../../etc/passwd"), safe_stem("beach 018"), safe_stem('a "cat"')
        ('_.._etc_passwd', 'beach 018', 'a _cat_')
    """
    chars = ("_" if c in _FORBIDDEN or unicodedata.category(c) in ("Cc", "Cs") else c for c in name)
    stem = "".join(chars).lstrip(". ").rstrip(". ")
    stem = stem.encode()[:MAX_STEM_BYTES].decode(errors="ignore").rstrip(". ")
    if not stem:
        return "_"
    return f"_{stem}" if stem.split(".")[0].casefold() in _RESERVED else stem


def without_suffix(name: str) -> str:
    """Returns the stem of an image's file name; a name without a known suffix stays whole."""
    suffix = PurePosixPath(name).suffix
    is_image = suffix.lower() in (*IMAGE_SUFFIXES, *PHONE_SUFFIXES)
    return name[: -len(suffix)] if is_image else name


def name_key(name: str) -> str:
    """Returns what two names share when some file system takes them for the same."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


# A folder by its whole path, with what stands before the last name; no part of an address.
_PLACE = re.compile(
    r"""(?<![\w.:/\\~-])(?:[A-Za-z]:[\\/]|~?/|\\\\)(?:[^\s/\\:'"<>|?*,;()]+[\\/])+"""
)


def without_places(text: str) -> str:
    r"""Returns `text` with the names of files in it, and not where on this machine they lie.

    Example:
        >>> without_places("/home/ann/cats/a.png: is cut off; see https://host/a/b")
        'a.png: is cut off; see https://host/a/b'
    """
    whole = PurePosixPath(text) if text.startswith("/") else PureWindowsPath(text)
    if whole.is_absolute() and ": " not in text:  # nothing but a path, maybe with spaces
        return whole.name
    return _PLACE.sub("", text)


def all_without_places(value: Any) -> Any:
    """Returns plain JSON with every text of it as `without_places` gives it."""
    if isinstance(value, str):
        return without_places(value)
    if isinstance(value, dict):
        return {key: all_without_places(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(all_without_places(one) for one in value)
    return value


def plain_text(text: str) -> str:
    r"""Returns `text` as both databases can hold it: NUL and lone surrogates are escaped."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def clean_concept(concept: str) -> str:
    """Returns a concept as the store keeps it, without surrounding space.

    Raises:
        ForgetmeError: nothing is left, or it is too long.
    """
    concept = plain_text(concept).strip()
    if not 1 <= len(concept) <= MAX_CONCEPT_CHARS:
        raise ForgetmeError(
            f"a concept is a word or a few (1 to {MAX_CONCEPT_CHARS} characters), "
            f"got {len(concept)}; name what the images are to forget"
        )
    return concept


def sample_id(concept: str, identity: str) -> str:
    """Returns the id of a sample: 16 hex digits of its concept and its pixels' sha256."""
    return hashlib.sha256(f"{concept}\0{identity}".encode()).hexdigest()[:16]


def plain_folders(parent: Path, pattern: str) -> list[Path]:
    """Returns the folders right below one whose names match; links are no folders of ours.

    Args:
        parent: need not be there.
        pattern: regular expression of the whole name.
    """
    try:
        with os.scandir(parent) as entries:
            return [
                Path(entry)
                for entry in entries
                if entry.is_dir(follow_symlinks=False) and re.fullmatch(pattern, entry.name)
            ]
    except FileNotFoundError:
        return []
