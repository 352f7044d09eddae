"""Lines of the database with a hash of what was written: a turned byte is noticed on reading.

Events have a hash of their own, see `rows.event_digest`.
"""

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, select, update

from forgetme.store.schema import BULKY

_log = logging.getLogger(__name__)
_SUMS = ("digest", "bulky_digest")

Line = Mapping[str, Any]


def sealed(table: Table, values: Line) -> dict[str, Any]:
    """Returns a whole line with its hash."""
    return {**values, "digest": digest(table, values)}


def digest(table: Table, values: Line) -> str:
    """Hashes a line but for what is bulky; a column without a value does not count."""
    names = (one.name for one in table.c if one.name not in (*_SUMS, *BULKY))
    return _sha({name: values[name] for name in names if values[name] is not None})


def bulky_digest(values: Line) -> str:
    """Hashes what is bulky in a sample's line: 64 hex digits."""
    return _sha([values[name] for name in BULKY])


def is_whole(table: Table, line: Line) -> bool:
    """Tells whether a line, bulky parts included where it has them, is what was written."""
    bulky = BULKY[0] in line and line["bulky_digest"] != bulky_digest(line)
    return line["digest"] == digest(table, line) and not bulky


def whole_lines(table: Table, lines: Iterable[Line]) -> list[Line]:
    """Returns the lines that are what was written, and logs that others are not."""
    found = []
    for line in lines:
        if is_whole(table, line):
            found.append(line)
        else:
            _log.warning("%s counts as not there", damage(table, line))
    return found


def change(connection: Connection, table: Table, *where: ColumnElement, **values: Any) -> None:
    """Changes lines and their hashes; a damaged one is left alone, and logged."""
    lines = connection.execute(select(table).where(*where)).mappings().all()
    for line in whole_lines(table, lines):
        new = {**values, "digest": digest(table, {**line, **values})}
        connection.execute(update(table).where(same(table, line)).values(new))


def same(table: Table, line: Line) -> ColumnElement[bool]:
    """Returns the condition that a line is this one, by its key."""
    return and_(*(column == line[column.name] for column in table.primary_key))


def damage(table: Table, line: Line) -> str:
    """Says which line is damaged, without what is secret in it."""
    secret = table.name in ("session", "access_token")
    words = "" if secret else " ".join(str(line[column.name]) for column in table.primary_key)
    return (
        f"the {table.name} {words!r} in the database is damaged"
        if words
        else (f"a {table.name} in the database is damaged")
    )


def _sha(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=repr).encode()).hexdigest()
