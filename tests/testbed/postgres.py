# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A private PostgreSQL on a Unix socket, with a data folder of its own and a cheap fresh database for each test."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import time
from pathlib import Path

from .bed import Bed, MissingError, need_tools, run


class Postgres:
    """One server. As root it runs as user ``postgres``, since it refuses root; durability is off, tests are short."""

    name = "postgres"

    def __init__(self, bed: Bed) -> None:
        self.bed = bed
        self.programs = find_programs()
        self.folder = bed.new_folder("pg")
        self.data, self.log_file = self.folder / "data", self.folder / "log"
        self.user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        self._server: subprocess.Popen[bytes] | None = None
        self._databases = 0
        self._become: list[str] = []
        if os.geteuid() == 0:
            need_tools("setpriv")
            self._become = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
            bed.folder.chmod(0o711)  # the user postgres has to pass through to its own folder
            shutil.chown(self.folder, "postgres", "postgres")
        options = ["--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", f"--username={self.user}"]
        run([*self._become, str(self.programs / "initdb"), "-D", str(self.data), *options], cwd="/")
        bed.adopt(self)

    def start(self, timeout_s: float = 150.0) -> None:
        """Start the server and wait until it takes connections. Raises RuntimeError with its log otherwise."""
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.folder),
            "fsync": "off",
            "max_connections": "60",
            "shared_buffers": "16MB",
        }
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with self.log_file.open("ab") as log:
            self._server = subprocess.Popen(
                [*self._become, str(self.programs / "postgres"), "-D", str(self.data), *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
            )
        deadline = time.monotonic() + timeout_s
        while self._client("pg_isready", "-q").returncode != 0:
            if self._server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL does not start: {self.log_file.read_text()}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop the server at once, cutting its connections; the data stay."""
        if self._server is None:
            return
        self._server.send_signal(2)  # "fast": sessions are ended, then a clean shutdown
        self._server.wait(20)
        self._server = None

    def close(self) -> None:
        """Stop, and remove the data."""
        self.stop()
        shutil.rmtree(self.folder)
        self.bed.release(self)

    def new_database(self) -> str:
        """The SQLAlchemy URL of a new, empty database."""
        self._databases += 1
        database = f"test{self._databases}"
        self.sql(f"CREATE DATABASE {database}")
        return self.url(database)

    def drop(self, url: str) -> None:
        """Drop a database made by ``new_database``, whoever is still connected to it."""
        database = url.partition("?")[0].rpartition("/")[2]
        self.sql(f"DROP DATABASE {database} WITH (FORCE)")

    def url(self, database: str = "postgres") -> str:
        """The SQLAlchemy URL of a database, for the driver psycopg."""
        return f"postgresql+psycopg://{self.user}@/{database}?host={self.folder}"

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run one statement as superuser; rows come back as unaligned text. Raises RuntimeError with psql's words."""
        done = self._client("psql", "-XAtqc", statement, "-d", database)
        if done.returncode:
            raise RuntimeError(f"{statement}: {done.stderr.strip()}")
        return done.stdout.strip()

    def _client(self, program: str, *words: str) -> subprocess.CompletedProcess[str]:
        argv = [str(self.programs / program), "-h", str(self.folder), "-U", self.user, *words]
        return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=180)


def find_programs() -> Path:
    """The folder of the newest PostgreSQL's server programs. Raises MissingError when there is none."""
    versions = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if versions:
        return max(versions, key=lambda path: int(path.parent.name))
    on_path = shutil.which("initdb")
    if on_path is None:
        raise MissingError("PostgreSQL's server is not installed (package postgresql)")
    return Path(on_path).resolve().parent
