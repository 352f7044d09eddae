"""Brings a store to this version's tables, after a copy of what it was."""

import json
import sqlite3
import time
from contextlib import closing
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, MetaData, inspect, text

from forgetme.errors import ForgetmeError, StoreVersionError
from forgetme.store import audit
from forgetme.store.database import BUSY_SECONDS, Database
from forgetme.store.schema import SCHEMA

MIGRATIONS = Path(__file__).parent / "migrations"


def migrate(
    database: Database, backups: Path, *, migrations: Path = MIGRATIONS, head: str = SCHEMA
) -> Path | None:
    """Makes the tables of an empty database, or runs what an older store lacks.

    All steps are one transaction: after a failure the store is as it was. The rows of an older
    store are derived from its events again, so that no step has to fill in what is new in them.

    Args:
        database: opened, empty or of any version.
        backups: folder for the copy made before an older store is changed.
        migrations: Alembic's folder.
        head: newest revision in it.

    Returns:
        The backup, or None when there was nothing to keep.

    Raises:
        StoreVersionError: the store is of a newer version; nothing is changed.
    """
    with database.read() as connection:
        if _revision(connection) == head:
            return None
    if database.is_sqlite:
        _use_wal(Path(database.url.database))
    backup = None
    with database.write() as connection:
        revision = _revision(connection)  # another process may have been faster
        if revision == head:
            return None
        if revision is not None:
            _check_known(database, revision, head, migrations)
            backup = _back_up(database, connection, revision, backups)
        _upgrade(connection, migrations)
        if revision is not None:
            audit.seal(connection)
            audit.derive(connection)
    return backup


def _revision(connection: Connection) -> str | None:
    tables = inspect(connection).get_table_names()
    if "alembic_version" in tables:
        return connection.scalar(text("SELECT version_num FROM alembic_version"))
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


def _check_known(database: Database, revision: str, head: str, migrations: Path) -> None:
    known = {file.name[: len(revision)] for file in (migrations / "versions").glob("*.py")}
    if revision not in known:
        raise StoreVersionError(
            f"{database.name} was written by a newer ForgetMe (its tables are version {revision}, "
            f"this one knows up to {head}); run `pip install -U forgetme`. Nothing was changed."
        )


def _back_up(database: Database, connection: Connection, revision: str, backups: Path) -> Path:
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    backups.mkdir(parents=True, exist_ok=True)
    if database.is_sqlite:
        path = backups / f"store-{revision}-{stamp}.db"
        with (
            closing(sqlite3.connect(database.url.database)) as source,
            closing(sqlite3.connect(path)) as copy,
        ):
            source.backup(copy)  # reads beside the open write transaction, which changed nothing
        return path
    path = backups / f"store-{revision}-{stamp}.jsonl"
    tables = MetaData()
    tables.reflect(connection)
    with path.open("w", encoding="utf-8") as lines:
        for table in tables.sorted_tables:
            for row in connection.execute(table.select()).mappings():
                lines.write(json.dumps({"table": table.name, "row": dict(row)}) + "\n")
    return path


def _upgrade(connection: Connection, migrations: Path) -> None:
    from alembic import command  # slow to import, and only new and old stores need it
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
