from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.pool import NullPool

from streamarchive.catalogue import columns, schema, tables
from streamarchive.errors import DatabaseError, SchemaTooNewError
from tests.processes import child

ROOT = Path(__file__).parents[2]

REBUILD = '''
"""Rebuild the table that everything refers to."""

import sqlalchemy as sa
from alembic import op

revision = "9001"
down_revision = "{newest}"


def upgrade() -> None:
    rebuilt = "always" if op.get_bind().dialect.name == "sqlite" else "never"
    with op.batch_alter_table("recording", recreate=rebuilt) as batch:
        batch.add_column(sa.Column("rating", sa.Integer(), nullable=True))
'''


@pytest.fixture
def postgresql_catalogue(postgresql_template: str, postgresql_databases: Callable[..., str]) -> str:
    """A copy of its own: these tests change the schema."""
    return postgresql_databases(postgresql_template)


@contextmanager
def connected(url: str) -> Iterator[sa.Connection]:
    parsed = sa.make_url(url)
    driver = "sqlite" if parsed.get_backend_name() == "sqlite" else "postgresql+psycopg"
    engine = sa.create_engine(parsed.set(drivername=driver), poolclass=NullPool)
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def revision_of(url: str) -> str | None:
    with connected(url) as connection:
        return MigrationContext.configure(connection).get_current_revision()


def counts(url: str) -> dict[str, int]:
    with connected(url) as connection:
        return {
            table.name: connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for table in tables.metadata.sorted_tables
        }


def fill(url: str) -> None:
    """A row or more in every table, with references between them."""
    with connected(url) as connection:
        for table in tables.metadata.sorted_tables:
            for number in (1, 2, 3):
                row = {column.name: _value(column, number) for column in table.columns}
                connection.execute(table.insert().values(row))


def _value(column: sa.Column[object], number: int) -> object:
    if column.foreign_keys:
        return _value(next(iter(column.foreign_keys)).column, number)
    kind = column.type
    if isinstance(kind, columns.Moment):
        return sa.func.current_timestamp()
    if isinstance(kind, sa.Boolean):
        return False
    if isinstance(kind, sa.LargeBinary):
        return bytes([number])
    if isinstance(kind, (sa.Integer, sa.Float)):
        return number
    if isinstance(kind, sa.JSON):
        return {"number": number}
    return f"{number}"


@pytest.fixture
def newer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The migrations as a later version might ship them, with one that rebuilds a table: its file."""
    folder = tmp_path / "migrations"
    shutil.copytree(ROOT / "streamarchive/catalogue/migrations", folder)
    file = folder / "versions/9001_rebuild.py"
    file.write_text(REBUILD.format(newest=newest()))
    monkeypatch.setattr(schema, "_MIGRATIONS", folder)
    return file


def newest() -> str:
    """The revision that this version brings a catalogue to."""
    [head] = ScriptDirectory(str(ROOT / "streamarchive/catalogue/migrations")).get_heads()
    return head


def test_migrating_from_nothing_makes_the_tables_that_the_code_knows(empty_url: str) -> None:
    assert schema.migrate(empty_url) is True
    with connected(empty_url) as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, tables.metadata) == []
    schema.check(empty_url)


def test_partial_indexes_and_rising_ids_are_there(empty_url: str) -> None:
    """What the comparison does not see."""
    schema.migrate(empty_url)
    with connected(empty_url) as connection:
        [index] = [i for i in sa.inspect(connection).get_indexes("job") if i["name"] == "uq_job_open"]
        assert index["unique"]
        options = index["dialect_options"]
        assert "parked" in str(options.get("sqlite_where", options.get("postgresql_where")))
        if connection.dialect.name == "sqlite":
            made = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'table'").all()
            rising = {row.name for row in made if "AUTOINCREMENT" in row.sql}
            assert rising == {
                table.name
                for table in tables.metadata.sorted_tables
                if table.dialect_options["sqlite"]["autoincrement"]
            }


def test_a_second_time_there_is_nothing_to_do(empty_url: str) -> None:
    assert [schema.migrate(empty_url) for _ in range(3)] == [True, False, False]


async def migrate(say: Connection, url: str) -> None:
    say.send(schema.migrate(url))


def test_many_processes_may_start_at_once(empty_url: str) -> None:
    with ExitStack() as stack:
        children = [stack.enter_context(child(migrate, empty_url)) for _ in range(4)]
        done = [one.listen() for one in children]
    assert sorted(done) == [False, False, False, True]
    schema.check(empty_url)


def test_a_newer_schema_is_refused_and_left_alone(catalogue_url: str) -> None:
    with connected(catalogue_url) as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '7777'")
    for step in (schema.migrate, schema.check):
        with pytest.raises(SchemaTooNewError, match=r"newer StreamArchive \(schema 7777\)"):
            step(catalogue_url)
    assert revision_of(catalogue_url) == "7777"


def test_rebuilding_a_table_keeps_every_row(catalogue_url: str, newer: Path) -> None:
    """With foreign keys on, dropping the old table deletes or orphans all that refer to it."""
    fill(catalogue_url)
    before = counts(catalogue_url)
    assert min(before.values()) == 3
    assert schema.migrate(catalogue_url) is True
    assert counts(catalogue_url) == before
    with connected(catalogue_url) as connection:
        assert "rating" in {column["name"] for column in sa.inspect(connection).get_columns("recording")}
        keys = sa.inspect(connection).get_foreign_keys("media_segment")
        assert {key["referred_table"] for key in keys} == {"recording", "take"}
    with pytest.raises(sa.exc.IntegrityError), connected(catalogue_url) as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA foreign_keys=ON")
        connection.exec_driver_sql("DELETE FROM recording")


def test_a_copy_is_made_before_a_file_is_migrated(sqlite_catalogue: str, newer: Path) -> None:
    fill(sqlite_catalogue)
    before = counts(sqlite_catalogue)
    path = Path(sqlite_catalogue.removeprefix("sqlite:///"))
    assert list(path.parent.glob("*.before-*")) == []
    schema.migrate(sqlite_catalogue)
    [copy] = path.parent.glob("*.before-*")
    assert revision_of(f"sqlite:///{copy}") == newest()
    assert counts(f"sqlite:///{copy}") == before


def test_no_copy_is_made_of_nothing(tmp_path: Path) -> None:
    schema.migrate(f"sqlite:///{tmp_path}/catalogue.sqlite")
    assert list(tmp_path.glob("*.before-*")) == []


@pytest.mark.parametrize(
    "step", ["raise ZeroDivisionError", 'op.execute("UPDATE media_segment SET recording_id = 77")']
)
def test_a_migration_that_fails_changes_nothing(catalogue_url: str, newer: Path, step: str) -> None:
    """Whether it raises or would leave references to nothing."""
    newer.write_text(f"{newer.read_text()}    {step}\n")
    fill(catalogue_url)
    before = counts(catalogue_url)
    with pytest.raises((ZeroDivisionError, DatabaseError)):
        schema.migrate(catalogue_url)
    assert counts(catalogue_url) == before
    assert revision_of(catalogue_url) == newest()
    with connected(catalogue_url) as connection:
        assert "rating" not in {column["name"] for column in sa.inspect(connection).get_columns("recording")}
    schema_names = {name for name in _table_names(catalogue_url) if name.startswith("_alembic")}
    assert schema_names == set()


def _table_names(url: str) -> list[str]:
    with connected(url) as connection:
        return sa.inspect(connection).get_table_names()


async def test_a_catalogue_in_use_can_be_migrated(sqlite_catalogue: str, newer: Path) -> None:
    """Readers of the version before go on reading; the migration waits for a writer to finish."""
    path = sqlite_catalogue.removeprefix("sqlite:///")
    fill(sqlite_catalogue)
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM cue").fetchone() == (3,)
        assert schema.migrate(sqlite_catalogue) is True
        assert reader.execute("SELECT count(*) FROM cue").fetchone() == (3,)


def test_what_is_no_catalogue_is_refused_in_a_sentence(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("This is no database, whatever its name says. " * 100)
    folder = tmp_path / "folder"
    folder.mkdir()
    for path in (text, folder):
        for step in (schema.migrate, schema.check):
            with pytest.raises(DatabaseError, match="cannot open the catalogue") as caught:
                step(f"sqlite:///{path}")
            assert "\n" not in str(caught.value)
    assert text.read_text().startswith("This is no database")
    with pytest.raises(DatabaseError, match="cannot open the catalogue"):
        schema.migrate(f"sqlite:///{text}/catalogue.sqlite")


def test_checking_makes_no_catalogue(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.sqlite"
    with pytest.raises(DatabaseError):
        schema.check(f"sqlite:///{path}")
    assert not path.exists()


def test_an_older_schema_is_told_how_to_be_migrated(catalogue_url: str, newer: Path) -> None:
    with pytest.raises(DatabaseError, match="streamarchive migrate"):
        schema.check(catalogue_url)


MIGRATE_FROM_WHEEL = """
import sys
from streamarchive.catalogue import schema
assert schema.__file__.startswith(sys.argv[1]), schema.__file__
assert schema.migrate(sys.argv[2]) is True
schema.check(sys.argv[2])
"""


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with what the wheel holds."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    [file] = folder.glob("*.whl")
    with zipfile.ZipFile(file) as archive:
        archive.extractall(folder / "content")
    return folder / "content"


def test_the_wheel_brings_its_migrations(wheel: Path, empty_url: str, tmp_path: Path) -> None:
    """Build tools leave out what they take for no code."""
    subprocess.run(
        [sys.executable, "-W", "error", "-c", MIGRATE_FROM_WHEEL, str(wheel), empty_url],
        env={"PYTHONPATH": str(wheel), "PATH": ""},
        cwd=tmp_path,
        check=True,
    )
