"""Bringing a catalogue to the schema of this version.

On SQLite a migration runs on a connection of its own with `foreign_keys=OFF`, set before the transaction begins:
Alembic's batch mode copies a table and drops the old one, and with foreign keys on that drop deletes every row
that refers to it. A copy of the file is made first, and foreign keys are checked before the commit.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from alembic.script.revision import ResolutionError
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from streamarchive.catalogue.tables import metadata
from streamarchive.errors import DatabaseError, SchemaTooNewError
from streamarchive.settings import redact

_MIGRATIONS = Path(__file__).parent / "migrations"
_BUSY_SECONDS = 120
_LOCK = 0x4D494752  # PostgreSQL: one process migrates at a time


def migrate(url: str) -> bool:
    """Create or update the schema; False if there was nothing to do. Blocking; many processes may call it.

    Raises `SchemaTooNewError` for one of a newer StreamArchive, `DatabaseError` if it cannot be opened.
    """
    path = _sqlite_path(url)
    with _explained(url):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        with _connect(url) as connection:
            current, newest = _revisions(connection, url)
        if current == newest:
            return False
        with _connect(url) as connection:
            return _upgrade(connection, url, path)


def check(url: str) -> None:
    """Raise `SchemaTooNewError` or `DatabaseError` unless this version can work with the catalogue as it is."""
    path = _sqlite_path(url)
    if path is not None and not path.exists():
        raise DatabaseError(f"there is no catalogue {path}; run `streamarchive migrate`")
    with _explained(url), _connect(url) as connection:
        current, newest = _revisions(connection, url)
    if current is None:
        raise DatabaseError(f"{redact(url)} holds no catalogue yet; run `streamarchive migrate`")
    if current != newest:
        raise DatabaseError(
            f"the catalogue {redact(url)} is of an older StreamArchive; run `streamarchive migrate`"
        )


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """Say in a sentence why a catalogue cannot be opened."""
    try:
        yield
    except DBAPIError as error:
        reason = str(error.orig).strip().split("\n")[0]
        raise DatabaseError(f"cannot open the catalogue {redact(url)}: {reason}") from error
    except (OSError, sqlite3.Error) as error:
        raise DatabaseError(f"cannot open the catalogue {redact(url)}: {error}") from error


def _sqlite_path(url: str) -> Path | None:
    parsed = make_url(url)
    return Path(parsed.database or "") if parsed.get_backend_name() == "sqlite" else None


@contextmanager
def _connect(url: str) -> Iterator[Connection]:
    parsed = make_url(url)
    driver = "sqlite" if parsed.get_backend_name() == "sqlite" else "postgresql+psycopg"
    waiting = {"timeout": _BUSY_SECONDS} if driver == "sqlite" else {}
    engine = create_engine(parsed.set(drivername=driver), poolclass=NullPool, connect_args=waiting)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def _script() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    return ScriptDirectory.from_config(config)


def _revisions(connection: Connection, url: str) -> tuple[str | None, str | None]:
    script = _script()
    current = MigrationContext.configure(connection).get_current_revision()
    if current is not None:
        try:
            known = script.get_revision(current) is not None
        except ResolutionError:
            known = False
        except Exception as error:  # alembic wraps the same failure in its CommandError
            if "Can't locate revision" not in str(error):
                raise
            known = False
        if not known:
            raise SchemaTooNewError(
                f"the catalogue {redact(url)} was written by a newer StreamArchive (schema {current}); "
                "install that version or use another DATA_DIR"
            )
    return current, script.get_current_head()


def _upgrade(connection: Connection, url: str, path: Path | None) -> bool:
    if path is not None:
        raw = connection.connection.driver_connection
        raw.isolation_level = None  # type: ignore[union-attr]  # the driver must not begin or commit by itself
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        connection.exec_driver_sql("PRAGMA synchronous=FULL")
        connection.commit()
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    current, newest = _revisions(connection, url)
    if current == newest:  # somebody else did it while we waited
        return False
    if path is not None and current is not None:
        _backup(path, current)
    _run(connection)
    if path is not None:
        _check_foreign_keys(connection)
        connection.exec_driver_sql("COMMIT")
    else:
        connection.commit()
    return True


def _run(connection: Connection) -> None:
    script = _script()

    def steps(revision: object, _context: MigrationContext) -> list[object]:
        return script._upgrade_revs("heads", revision)  # type: ignore[arg-type,return-value]

    with EnvironmentContext(Config(), script, fn=steps) as environment:
        environment.configure(
            connection=connection, target_metadata=metadata, render_as_batch=True, transactional_ddl=False
        )
        with Operations.context(environment.get_context()):
            environment.run_migrations()


def _backup(path: Path, revision: str) -> None:
    """A consistent copy beside the catalogue; the newest of each schema is kept."""
    copy = path.with_name(f"{path.name}.before-{revision}-migration")
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)


def _check_foreign_keys(connection: Connection) -> None:
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    if broken:
        connection.exec_driver_sql("ROLLBACK")
        table = broken[0][0]
        raise DatabaseError(
            f"the migration would break {len(broken)} references of {table!r}; nothing was changed"
        )
