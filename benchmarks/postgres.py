"""A private PostgreSQL server: Debian's programs, a socket in a temporary folder."""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

PROGRAMS = "/usr/lib/postgresql/*/bin"


class Cluster:
    """A server with one database, which `empty` empties."""

    def __init__(self, *, durable: bool = True) -> None:
        """Makes and starts it.

        Args:
            durable: False leaves out the server's own fsync, for tests that cut no power.
        """
        self.binaries = Path(sorted(glob.glob(PROGRAMS))[-1])
        self.folder = Path(tempfile.mkdtemp(prefix="pg"))  # short: a socket's path has 107 bytes
        self.url = f"postgresql://forgetme@/postgres?host={self.folder}"
        self.user = None
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            self.user = "postgres"
            shutil.chown(self.folder, self.user)
        data = str(self.folder / "data")
        self.run("initdb", "-D", data, "-A", "trust", "-U", "forgetme", "--no-sync", "-E", "UTF8")
        fsync = "on" if durable else "off"
        options = f"-k {self.folder} -c listen_addresses='' -c fsync={fsync}"
        self.run("pg_ctl", "-D", data, "-w", "-l", str(self.folder / "log"), "-o", options, "start")

    def run(self, command: str, *arguments: str) -> None:
        """Runs one of PostgreSQL's programs."""
        subprocess.run(
            [self.binaries / command, *arguments],
            check=True,
            user=self.user,
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
        )

    def empty(self) -> None:
        """Drops everything in the database."""
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")

    def stop(self) -> None:
        """Ends the server and forgets its data."""
        self.run("pg_ctl", "-D", str(self.folder / "data"), "-m", "immediate", "stop")
        shutil.rmtree(self.folder, ignore_errors=True)
