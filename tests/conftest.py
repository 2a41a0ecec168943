"""Real servers for every test: started once per run when first asked for, stopped with it, even when it is killed."""

import gc
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from sandbox.authorities import Authorities, start_authorities
from sandbox.database import Database, Databases
from sandbox.issuer import Issuer
from sandbox.nats import Nats
from sandbox.objects import Objects
from sandbox.postgres import Postgres

# What the interpreter allows when it starts, and so in every product process.
RECURSION_LIMIT = sys.getrecursionlimit()

# Examples are right or wrong, never late: what else the machine has to do decides how long one takes.
settings.register_profile("untimed", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

# httpcore looks for this library, which is not installed, at every request: all of the path, each time.
sys.modules.setdefault("sniffio", None)  # type: ignore[arg-type]  # Python's way to say that there is none


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest begin first: one of them that began last would keep all other workers waiting."""
    items.sort(key=lambda item: not item.nodeid.startswith("tests/system/"))


def pytest_collection_finish() -> None:
    """Thousands of collected tests stay until the end of the run: garbage is not looked for among them again."""
    gc.collect()
    gc.freeze()


class FolderFixtures:
    """Session fixtures of a folder's conftest end when the run leaves that folder: an idle service costs time, too."""

    def __init__(self) -> None:
        self._set_up: dict[pytest.FixtureDef[object], Any] = {}

    def pytest_fixture_post_finalizer(self, fixturedef: pytest.FixtureDef[object]) -> None:
        self._set_up.pop(fixturedef, None)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest
    ) -> Generator[None, object, object]:
        if fixturedef.scope == "session" and "/" in fixturedef.baseid:
            self._set_up[fixturedef] = request
        return (yield)

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_teardown(self, nextitem: pytest.Item | None) -> None:
        ahead = nextitem.nodeid if nextitem is not None else ""
        for fixturedef, request in reversed(list(self._set_up.items())):
            if not ahead.startswith(f"{fixturedef.baseid}/"):
                fixturedef.finish(request)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(FolderFixtures())


@pytest.fixture(autouse=True)
def _recursion_limit() -> None:
    """One of pytezos's libraries lifts the limit on import: a deeply nested input would then end the interpreter."""
    sys.setrecursionlimit(RECURSION_LIMIT)


@pytest.fixture(scope="session")
def sandbox_directory() -> Iterator[Path]:
    """A folder for servers. Unlike `tmp_path`, an unprivileged PostgreSQL may enter it when root runs the tests."""
    directory = Path(tempfile.mkdtemp(prefix="indelible-tests-"))
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(sandbox_directory: Path) -> Iterator[Postgres]:
    """The run's PostgreSQL server. A test that stops or kills it must start it again, or use `own_postgres`."""
    server = Postgres(sandbox_directory / "postgres")
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture(scope="session")
def new_postgres(sandbox_directory: Path) -> Path:
    """The folder of a new server that does not run: a copy costs a tenth of what making another one costs."""
    server = Postgres(sandbox_directory / "new-postgres")
    server.start().stop()
    return server.directory


@pytest.fixture
def own_postgres(sandbox_directory: Path, new_postgres: Path) -> Iterator[Postgres]:
    """A PostgreSQL server for one test that stops, kills or starves it."""
    directory = Path(tempfile.mkdtemp(dir=sandbox_directory, prefix="own-"))
    directory.chmod(0o711)
    subprocess.run(["cp", "-a", new_postgres, directory / "postgres"], check=True)  # owners and all
    server = Postgres(directory / "postgres")
    try:
        yield server.start()
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def databases(postgres: Postgres) -> Databases:
    """Creates and copies databases on the run's server."""
    return Databases(postgres)


@pytest.fixture(scope="session")
def migrated_template(databases: Databases) -> Database:
    """The database that every test's own is copied from. Never connect to it."""
    return databases.migrated("template_migrated")


@pytest.fixture
def database(databases: Databases, migrated_template: Database) -> Iterator[Database]:
    """A fresh, migrated, empty database for one test."""
    with databases.copy(migrated_template) as copy:
        yield copy


@pytest.fixture(scope="module")
def module_database(databases: Databases, migrated_template: Database) -> Iterator[Database]:
    """A fresh, migrated database that the tests of one module share."""
    with databases.copy(migrated_template) as copy:
        yield copy


@pytest.fixture
def nats_server(sandbox_directory: Path) -> Iterator[Nats]:
    """A NATS server with empty streams for one test, which may kill and restart it. Takes 0.1 s to make."""
    directory = Path(tempfile.mkdtemp(dir=sandbox_directory, prefix="nats-"))
    server = Nats(directory)
    try:
        yield server.start()
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def objects(sandbox_directory: Path) -> Iterator[Objects]:
    """The run's S3 server. Takes 3 s to make."""
    server = Objects(sandbox_directory / "objects")
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture(scope="session")
def issuer(sandbox_directory: Path) -> Issuer:
    """Mints bearer tokens; `issuer.jwks_file` is what a ledger under test is told to trust."""
    return Issuer(sandbox_directory / "issuer")


@pytest.fixture(scope="session")
def authorities(sandbox_directory: Path) -> Iterator[Authorities]:
    """The two local time-stamp authorities of the run, behaving. A test of misbehaviour starts its own."""
    with start_authorities(sandbox_directory / "authorities") as running:
        yield running


@pytest.fixture(scope="session")
def corpus() -> Path:
    """Real tokens and bundles of other people, which are not part of the repository."""
    named = os.environ.get("INDELIBLE_CORPUS")
    if not named:
        pytest.skip("INDELIBLE_CORPUS is not set: the corpus of real time-stamp tokens is kept apart")
    directory = Path(named)
    if not directory.is_dir():
        pytest.skip(f"INDELIBLE_CORPUS names {directory}, which is not a folder")
    return directory
