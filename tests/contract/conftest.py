"""A migrated, empty catalogue for every test, over SQLite and over PostgreSQL.

Migrating takes a second, so each is migrated once a session. SQLite's file is copied; copying a PostgreSQL
database takes up to a second as well, so there all tests share one, which is swept before each.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psycopg
import pytest

from streamarchive.catalogue import schema, tables
from streamarchive.catalogue.database import Database

BACKENDS = ("sqlite", "postgresql")
SWEEP = "\n".join(
    [
        # What a killed process has left open would keep its locks for a while.
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid();",
        *(f'DELETE FROM "{table.name}";' for table in reversed(tables.metadata.sorted_tables)),
        "SELECT setval(oid::regclass, 1, false) FROM pg_class WHERE relkind = 'S';",
    ]
)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file that nobody has open."""
    path = tmp_path_factory.mktemp("template") / "catalogue.sqlite"
    schema.migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgresql_template(postgresql_databases: Callable[..., str]) -> str:
    """URL of a migrated database that nobody is connected to."""
    url = postgresql_databases()
    schema.migrate(url)
    return url


@pytest.fixture
def sqlite_catalogue(sqlite_template: Path, tmp_path: Path) -> str:
    """URL of a migrated, empty SQLite catalogue."""
    path = tmp_path / "catalogue.sqlite"
    shutil.copyfile(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture(scope="session")
def postgresql_shared(postgresql_template: str, postgresql_databases: Callable[..., str]) -> str:
    """URL of the migrated database that tests use one after the other."""
    return postgresql_databases(postgresql_template)


@pytest.fixture
def postgresql_catalogue(postgresql_shared: str) -> str:
    """URL of a migrated, empty PostgreSQL catalogue."""
    with psycopg.connect(postgresql_shared) as connection:
        connection.execute(SWEEP)
    return postgresql_shared


@pytest.fixture(params=BACKENDS)
def catalogue_url(request: pytest.FixtureRequest) -> str:
    """URL of a migrated, empty catalogue, once for each kind of database."""
    url: str = request.getfixturevalue(f"{request.param}_catalogue")
    return url


@pytest.fixture
async def database(catalogue_url: str) -> AsyncIterator[Database]:
    """That catalogue, opened."""
    opened = Database(catalogue_url)
    yield opened
    await opened.close()


@pytest.fixture(params=BACKENDS)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a catalogue that does not exist yet (SQLite) or has no tables (PostgreSQL)."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'new' / 'catalogue.sqlite'}"
    url: str = request.getfixturevalue("postgresql_database")
    return url
