"""Brings a store to this version's tables, after a copy of what it was.

What is derived is made from the events again; what is kept gains what it lacks.
"""

import json
import sqlite3
import time
from contextlib import closing
from datetime import datetime
from pathlib import Path

from sqlalchemy import DDL, Connection, MetaData, delete, insert, inspect, text
from sqlalchemy.schema import CreateColumn

from forgetme.errors import ForgetmeError, StoreVersionError
from forgetme.store import audit
from forgetme.store.database import BUSY_SECONDS, Database
from forgetme.store.schema import SCHEMA, VERSIONS, metadata, sample, version


def migrate(database: Database, backups: Path) -> Path | None:
    """Makes the tables of an empty database, or brings those of an older store to this version.

    All steps are one transaction: after a failure the store is as it was.

    Args:
        database: opened, empty or of any version.
        backups: folder for the copy made before an older store is changed.

    Returns:
        The backup, or None when there was nothing to keep.

    Raises:
        StoreVersionError: the store is of a newer version; nothing is changed.
    """
    with database.read() as connection:
        if _version(connection) == SCHEMA:
            return None
    if database.is_sqlite:
        _use_wal(Path(database.url.database))
    backup = None
    with database.write() as connection:
        found = _version(connection)  # another process may have been faster
        if found == SCHEMA:
            return None
        if found is not None:
            _check_known(database, found)
            backup = _back_up(database, connection, found, backups)
            sample.drop(connection)
        for step in (_complete, audit.seal, audit.derive):
            step(connection)
        connection.execute(delete(version))
        connection.execute(insert(version).values(version_num=SCHEMA))
    return backup


def _complete(connection: Connection) -> None:
    """Makes the tables, columns and indexes that are not there."""
    there = inspect(connection)
    for table in metadata.sorted_tables:
        if not there.has_table(table.name):
            table.create(connection)
            continue
        known = {column["name"] for column in there.get_columns(table.name)}
        for column in table.c:
            if column.name not in known:
                words = CreateColumn(column).compile(connection)
                connection.execute(DDL(f"ALTER TABLE {table.name} ADD COLUMN {words}"))
        for index in table.indexes:
            index.create(connection, checkfirst=True)


def _version(connection: Connection) -> str | None:
    tables = inspect(connection).get_table_names()
    if version.name in tables:
        return connection.scalar(text(f"SELECT version_num FROM {version.name}"))  # noqa: S608
    if tables:
        raise ForgetmeError(
            f"the database holds other tables ({', '.join(sorted(tables)[:3])}), not a store; "
            "name an empty database or a new folder"
        )
    return None


def _use_wal(file: Path) -> None:
    """Switches the file to write-ahead logging, which lets readers go on beside a writer."""
    deadline = time.monotonic() + BUSY_SECONDS
    with closing(sqlite3.connect(file, timeout=BUSY_SECONDS)) as connection:
        while not _switched(connection):
            if time.monotonic() > deadline:
                raise ForgetmeError(f"{file} is held by another process; wait for it or stop it")
            time.sleep(0.01)


def _switched(connection: sqlite3.Connection) -> bool:
    try:
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    except sqlite3.OperationalError as error:
        if "locked" in str(error):  # another process switches at this moment
            return False
        raise
    return mode == "wal"


def _check_known(database: Database, found: str) -> None:
    if found not in VERSIONS:
        raise StoreVersionError(
            f"{database.name} was written by a newer ForgetMe (its tables are version {found}, "
            f"this one knows up to {SCHEMA}); run `pip install -U forgetme`. Nothing was changed."
        )


def _back_up(database: Database, connection: Connection, found: str, backups: Path) -> Path:
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    backups.mkdir(parents=True, exist_ok=True)
    if database.is_sqlite:
        path = backups / f"store-{found}-{stamp}.db"
        with (
            closing(sqlite3.connect(database.url.database)) as source,
            closing(sqlite3.connect(path)) as copy,
        ):
            source.backup(copy)  # reads beside the open write transaction, which changed nothing
        return path
    path = backups / f"store-{found}-{stamp}.jsonl"
    tables = MetaData()
    tables.reflect(connection)
    with path.open("w", encoding="utf-8") as lines:
        for table in tables.sorted_tables:
            for row in connection.execute(table.select()).mappings():
                # what is no JSON, as the bytes of a look, can be computed again
                lines.write(json.dumps({"table": table.name, "row": dict(row)}, default=str) + "\n")
    return path
