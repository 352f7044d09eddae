"""Pydantic schemas, with limits, of the JSON, CSV and COCO files of other tools.

Every reader of this folder comes here for its text: a bad line is a `ValueError` with one line of
words, so that the reader can tell of it and go on with the next.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from forgetme.record.files import MOST_TEXT_BYTES, open_regular, read_bytes

MAX_LINES_BYTES = 2**40  # of a file that is read line by line
MAX_LINE_BYTES = 8 * 2**20
MAX_TEXT = 20_000  # characters of a caption or a name
MAX_DEPTH = 50  # of lists and objects within each other
MAX_TOLD = 3  # faults of one row that are named

Model = TypeVar("Model", bound=BaseModel)


def one_id(value: Any) -> Any:
    """Returns an id as text: 1, 1.0, "1" and "1.0" are one id."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).strip() if isinstance(value, int | float | str) else value
    return re.sub(r"^(-?\d+)\.0+$", r"\1", text) if isinstance(text, str) else text


Id = Annotated[str, BeforeValidator(one_id), Field(min_length=1, max_length=MAX_TEXT)]
Text = Annotated[str, Field(max_length=MAX_TEXT)]
Name = Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]  # of a file
Whole = Annotated[int, Field(ge=-(2**63), lt=2**63)]  # what columns and databases hold
Number = Annotated[float, Field(allow_inf_nan=False)]
Plain = Whole | Number | bool | str | None


class Row(BaseModel):
    """A line of `metadata.jsonl` or `index.csv`; what else stands in it is passed over."""

    concept: Text | None = None
    caption: Text | None = None


class FolderRow(Row):
    """A line that names the files of one quadruple."""

    original_file_name: Name
    background_file_name: Name
    mask_file_name: Name


class StreamedRow(Row):
    """The `.json` of one sample in a tar."""

    stem: Text = ""


class CocoImage(BaseModel):
    """One of COCO's `images`; its size is what the annotations were made for."""

    id: Id
    file_name: Name
    background_file_name: Name | None = None
    width: Annotated[int, Field(gt=0)] | None = None
    height: Annotated[int, Field(gt=0)] | None = None
    forgetme: dict[str, Any] | None = None


class CocoCategory(BaseModel):
    """One of COCO's `categories`."""

    id: Id
    name: Name


class CocoAnnotation(BaseModel):
    """One of COCO's `annotations`; its outline is read when its image is known."""

    id: Any = None
    image_id: Id
    category_id: Id | None = None
    segmentation: Any = None


class RunLengths(BaseModel):
    """COCO's run lengths, compressed or not."""

    size: tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]]
    counts: str | list[Annotated[int, Field(ge=0, lt=2**40)]]


class _Score(BaseModel):
    score: Number | None
    variant: str
    warnings: list[str] = []


class _Scores(BaseModel):
    d: _Score
    s: _Score
    low: Annotated[bool, Field(strict=True)]
    words: list[str] = []
    thresholds: dict[str, Number] = {}


class _FillSettings(BaseModel):
    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Plain]
    prompt: str = ""
    negative_prompt: str = ""
    seed: Whole = 0


class _Lineage(BaseModel):
    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Plain | dict[str, Plain]]
    photo_sha: str | None = None


_PARTS: dict[str, TypeAdapter[Any]] = {
    "scores": TypeAdapter(_Scores),
    "settings": TypeAdapter(_FillSettings),
    "lineage": TypeAdapter(_Lineage),
    "versions": TypeAdapter(dict[str, str]),
    "notes": TypeAdapter(list[str]),
    "comment": TypeAdapter(Text),
}


def sound_part(details: dict[str, Any], name: str) -> Any:
    """Returns one part of a record's details as it stands there, or None where it is unsound."""
    value = details.get(name)
    try:
        _PARTS[name].validate_python(value)
    except ValidationError:
        return None
    return value


def read_as(model: type[Model], value: Any) -> Model:
    """Reads an object by its schema.

    Raises:
        ValueError: it does not fit; in one line.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise ValueError(why(error)) from None


def why(error: ValidationError) -> str:
    """Says in one line what does not fit."""
    told = []
    for one in error.errors(include_url=False, include_context=False)[:MAX_TOLD]:
        at = ".".join(str(step) for step in one["loc"])
        got = "" if one["type"] == "missing" else f", got {repr(one['input'])[:60]}"
        said = "Input should be an object" if one["type"] == "model_type" else one["msg"]
        told.append(f"{at}: {said}{got}" if at else f"{said}{got}")
    return "; ".join(told).replace("\n", " ")


# ------------------------------------------------------------------------------ text, JSON, CSV


def loads(data: bytes | str) -> Any:
    """Reads JSON.

    Raises:
        ValueError: it is not UTF-8, no JSON, or nested too deeply.
    """
    if isinstance(data, bytes):
        try:
            data = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ValueError(f"it is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    try:
        value = json.loads(data)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"it is no JSON ({error})") from None
    return value


def loads_object(data: bytes | str) -> dict[str, Any]:
    """Reads a JSON object that is nested as ours are, at most.

    Raises:
        ValueError: it is something else.
    """
    value = loads(data)
    if not isinstance(value, dict):
        raise ValueError(f"it must be a JSON object, got {type(value).__name__}")
    _check_depth(value, MAX_DEPTH)
    return value


def _check_depth(value: Any, left: int) -> None:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if inside and not left:
        raise ValueError(f"it is nested too deeply (at most {MAX_DEPTH} levels)")
    for one in inside:
        if isinstance(one, dict | list):
            _check_depth(one, left - 1)


def load_file(path: Path) -> Any:
    """Reads a whole JSON file.

    Raises:
        ForgetmeError: it cannot be opened, or is too large.
        ValueError: it is no JSON.
    """
    return loads(read_bytes(path, MOST_TEXT_BYTES))


def json_rows(path: Path) -> Iterator[tuple[int, dict[str, Any], str]]:
    """Yields line number, object, and what is wrong ("" for nothing) of each line of JSON."""
    for number, data in _lines(path):
        if data is None:
            yield number, {}, f"it is longer than {MAX_LINE_BYTES:,} bytes"
        elif data.strip():
            try:
                yield number, loads_object(data), ""
            except ValueError as error:
                yield number, {}, str(error)


def csv_rows(path: Path) -> Iterator[tuple[int, dict[str, str], str]]:
    """Yields line number, cells by heading, and what is wrong ("" for nothing) of each row."""
    reader = csv.reader(_decoded(path))
    heading: list[str] | None = None
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except (csv.Error, ValueError) as error:
            yield reader.line_num, {}, str(error)
            continue
        try:
            "".join(cells).encode()
            wrong = ""
        except UnicodeEncodeError:
            wrong = "it is not UTF-8; save the file as UTF-8"
        if heading is None:
            heading = [cell.strip() for cell in cells]
        elif cells:
            yield reader.line_num, dict(zip(heading, cells, strict=False)), wrong


def _decoded(path: Path) -> Iterator[str]:
    """Yields lines as text, with what is not UTF-8 marked by lone surrogates."""
    for number, data in _lines(path):
        if data is None:
            raise ValueError(f"it is longer than {MAX_LINE_BYTES:,} bytes; what follows is unread")
        yield data.decode("utf-8-sig" if number == 1 else "utf-8", "surrogateescape")


def _lines(path: Path) -> Iterator[tuple[int, bytes | None]]:
    r"""Yields number and bytes of each line; None for one that is too long.

    Only "\n" ends a line: a text may hold U+2028 or U+0085, which `str.splitlines` cuts at.
    """
    with open_regular(path, MAX_LINES_BYTES) as file:
        number = 0
        while piece := file.readline(MAX_LINE_BYTES):
            number += 1
            if len(piece) < MAX_LINE_BYTES or piece.endswith(b"\n"):
                yield number, piece
                continue
            while piece and not piece.endswith(b"\n"):
                piece = file.readline(MAX_LINE_BYTES)
            yield number, None
