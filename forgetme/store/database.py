"""One engine for SQLite and PostgreSQL: durable commits, one writer at a time, plain errors."""

import json
import logging
import os
import shlex
import shutil
import sqlite3
import threading
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, create_engine, event, make_url, text
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DBAPIError,
    IntegrityError,
    OperationalError,
)

from forgetme.errors import DiskFullError, ForgetmeError
from forgetme.store.moment import look_again, present

_log = logging.getLogger(__name__)

BUSY_SECONDS = 60  # how long a writer waits for another process
CACHE_KIB = 16_384  # SQLite's pages in memory, a connection: the indexes of 50,000 samples
_POSTGRES_WRITER = 7_310_223_001  # key of the advisory lock that makes writers take turns


class Unreadable(dict):
    """Stands for a value of the database that is no JSON any more."""


def _read_json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:  # whoever takes it up says where it stands
        return Unreadable()


class Database:
    """Reads see one moment; writes take turns, so that event ids grow with commits.

    A commit that returned survives `kill -9` and a power cut (WAL with synchronous=FULL). SQLite
    passes over what it cannot read at the end of its log; so the number of commits is kept in the
    database and, once each has returned, beside it, see `check_count`.
    """

    def __init__(self, url: URL) -> None:
        """Prepares the engine; the first connection is made by the first use."""
        self.url = url
        self.is_sqlite = url.get_backend_name() == "sqlite"
        # whatever the server holds is spoken of in UTF-8; without it SQL_ASCII gives bytes
        options = {"pool_pre_ping": True, "connect_args": {"client_encoding": "utf8"}}
        if self.is_sqlite:
            options = {"connect_args": {"timeout": BUSY_SECONDS}}
        self.engine = create_engine(
            url,
            json_serializer=partial(json.dumps, allow_nan=False),
            json_deserializer=_read_json,
            hide_parameters=True,  # of statements in errors, which are logged: hashes, comments
            pool_size=8,
            max_overflow=56,  # a page's thread pool has 40
            **options,
        )
        self._turn = threading.Lock()  # fairer among threads than SQLite's busy loop
        if self.is_sqlite:
            event.listen(self.engine, "connect", _set_pragmas)
            event.listen(self.engine, "begin", _begin)

    @property
    def name(self) -> str:
        """The file, or the address without its password, which may stand in its query too."""
        if self.is_sqlite:
            return self.url.database
        return self.url.difference_update_query(["password", "sslpassword"]).render_as_string()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one moment of the database: its own, or that of `one_moment`."""
        with ExitStack() as stack:
            stack.enter_context(self._plain_errors())
            moment = present()
            connection = stack.enter_context(moment.lent(self.engine)) if moment else None
            if connection is None:
                connection = stack.enter_context(self.engine.connect())
                stack.enter_context(connection.begin())
            yield connection

    @contextmanager
    def write(self, *, durable: bool = True) -> Iterator[Connection]:
        """A transaction that no other writer runs beside; durable when the block ends.

        Args:
            durable: False waits for no disk: `kill -9` loses nothing, a power cut what was written
                so since the last durable write. For what expires anyway: leases.
        """
        look_again()
        level = "FULL" if durable else "NORMAL"
        engine = self.engine.execution_options(forgetme_write=level)
        with self._plain_errors(), self._turn, engine.connect() as connection:
            with connection.begin():
                if not self.is_sqlite:
                    connection.execute(text(f"SELECT pg_advisory_xact_lock({_POSTGRES_WRITER})"))
                    if not durable:
                        connection.execute(text("SET LOCAL synchronous_commit = off"))
                before = self._changes(connection)
                yield connection
                is_kept = durable and self._changes(connection) > before
                count = _count(connection, 1) if is_kept else 0
            if count:
                self._note(count)

    def check_count(self) -> str | None:
        """Compares the commits that had returned with those in the database; SQLite only.

        Returns:
            What is wrong with the number beside the database, or None.

        Raises:
            ForgetmeError: the database lacks some of them.
        """
        known = self._noted()  # first: the database is never behind what was noted before
        if known is None:
            return None
        if known < 0:
            return f"{self._beside('-count')} is damaged; run rebuild, which writes it anew"
        with self.read() as connection:
            count = _count(connection)
        if count >= known:
            return None
        raise ForgetmeError(
            f"{self.name} lacks the last {known - count} of {known} writes that were saved: its "
            "log store.db-wal was damaged or lost, or an older copy was put in its place. Bring "
            "back a backup, or run `python -m forgetme store rebuild` to go on without them"
        )

    def save_log(self, backups: Path) -> None:
        """Copies SQLite's log away before it is closed, for whoever can still read something."""
        log = self._beside("-wal")
        if log.is_file() and log.stat().st_size:
            backups.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(log, backups / f"damaged-{log.stat().st_mtime_ns}.db-wal")

    def go_on(self) -> None:
        """Counts from what is there; what was lost is not asked for any more."""
        if self.is_sqlite:
            with self.write() as connection:
                self._beside("-count").unlink(missing_ok=True)
                count = _count(connection, 1)
            self._note(count)

    def mend_indexes(self, connection: Connection) -> None:
        """Makes SQLite's indexes again from the lines, inside a transaction that is open."""
        if self.is_sqlite:
            connection.exec_driver_sql("REINDEX")

    def check_encoding(self) -> None:
        """Refuses a PostgreSQL database that cannot hold every name and comment.

        Raises:
            ForgetmeError: it is not UTF-8; the message has the command that makes one.
        """
        if self.is_sqlite:
            return
        with self.read() as connection:
            encoding = connection.scalar(text("SHOW server_encoding"))
        if encoding != "UTF8":
            name = shlex.quote(f"{self.url.database or 'forgetme'}-utf8")
            raise ForgetmeError(
                f"the database {self.name} is {encoding}, which cannot hold every name and "
                "comment; a store needs UTF-8. Make one with: "
                f"createdb --encoding UTF8 --locale C.UTF-8 --template template0 {name}"
            )

    def close(self) -> None:
        """Closes all connections."""
        self.engine.dispose()

    def _beside(self, ending: str) -> Path:
        return Path(f"{self.url.database}{ending}")

    def _changes(self, connection: Connection) -> int:
        """How many lines this connection has changed; 0 where nothing is counted."""
        return connection.connection.dbapi_connection.total_changes if self.is_sqlite else 0

    def _noted(self) -> int | None:
        """The highest number of commits that was noted; None for none, -1 where it is damaged."""
        if not self.is_sqlite:
            return None
        try:
            words = self._beside("-count").read_bytes()
        except FileNotFoundError:
            return None
        number, _, summed = words.strip().partition(b" ")
        whole = number.isdigit() and summed == b"%08x" % zlib.crc32(number)
        return int(number) if whole else -1

    def _note(self, count: int) -> None:
        """Notes a commit that has returned; waits for no disk, since less is noted at worst."""
        try:
            if (self._noted() or 0) < count:  # another process may have noted a later one
                number = b"%010d" % count
                handle = os.open(self._beside("-count"), os.O_WRONLY | os.O_CREAT, 0o666)
                try:
                    os.write(handle, b"%s %08x\n" % (number, zlib.crc32(number)))
                finally:
                    os.close(handle)
        except OSError as error:  # the commit itself is on the disk
            _log.warning("cannot note the number of commits: %s", error)

    @contextmanager
    def _plain_errors(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise self._plain(error) from error
        except UnicodeDecodeError as error:  # SQLite quotes a damaged name in its message
            raise ForgetmeError(
                f"{self.name} is damaged ({error.reason}); bring back a backup"
            ) from error

    def _plain(self, error: DBAPIError) -> Exception:
        words = str(error.orig).lower()
        if "disk is full" in words or "no space left" in words or "disk i/o" in words:
            return DiskFullError(
                f"no room left for {self.name}; free some disk space and try again, "
                "nothing saved before is lost"
            )
        if "locked" in words:
            return ForgetmeError(
                f"{self.name} was busy for {BUSY_SECONDS} s; another process holds it, "
                "wait for it to finish or stop it"
            )
        if "readonly" in words or "read-only" in words:
            return ForgetmeError(f"{self.name} may not be written; check the rights of its folder")
        if isinstance(error, OperationalError) and not self.is_sqlite:
            return ForgetmeError(
                f"cannot reach {self.name} ({str(error.orig).strip()}); check that the server runs"
            )
        broken = isinstance(error, IntegrityError) and "constraint" in words
        torn = self.is_sqlite and (broken or isinstance(error, OperationalError))
        if torn or type(error) is DatabaseError or "malformed" in words:  # our statements fit
            return ForgetmeError(
                f"{self.name} is no store or is damaged ({error.orig}); bring back a backup"
            )
        return error


def _count(connection: Connection, more: int = 0) -> int:
    """Returns the number of commits that is kept in the database, after adding to it."""
    count = connection.exec_driver_sql("PRAGMA user_version").scalar() + more
    if more:
        connection.exec_driver_sql(f"PRAGMA user_version = {count}")
    return count


def url_of(location: str | Path) -> URL:
    """Returns the database's address: of a folder's `store.db`, or a PostgreSQL URL as given.

    Raises:
        ForgetmeError: an address that is not PostgreSQL's, or psycopg is not installed.
    """
    if "://" not in str(location):
        return URL.create("sqlite", database=str(Path(location).absolute() / "store.db"))
    try:
        url = make_url(str(location))
    except ArgumentError as error:
        raise ForgetmeError(
            "a store is a folder or postgresql://user@host/database, got an address that is neither"
        ) from error
    if url.get_backend_name() not in ("postgresql", "postgres"):
        raise ForgetmeError(
            f"a store is a folder or postgresql://user@host/database, got {url.drivername}://"
        )
    try:
        import psycopg  # noqa: F401 (named here for the message)
    except ImportError as error:
        raise ForgetmeError('PostgreSQL needs psycopg: pip install "psycopg[binary]"') from error
    return url.set(drivername="postgresql+psycopg")


def _set_pragmas(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # transactions are begun by _begin, not by the driver
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")


def _begin(connection: Connection) -> None:
    level = connection.get_execution_options().get("forgetme_write")
    if level is not None:
        connection.exec_driver_sql(f"PRAGMA synchronous = {level}")
    connection.exec_driver_sql("BEGIN" if level is None else "BEGIN IMMEDIATE")
