"""People who sign in, their sessions, and the audit log of what they did.

A session's token is 256 random bits, of which only the SHA-256 is stored: who reads the database cannot sign in
with it. Failed sign-ins are counted by name and by address in the audit log
itself. Whatever ends a session tells open pages, so that what they are sent ends with it.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import changes, passwords, tables
from streamarchive.catalogue.database import Database, now
from streamarchive.errors import ConflictError, NotFoundError, SignInRefusedError, UsageError
from streamarchive.models import Role, User

IDLE = timedelta(hours=12)
"""A session that is not used for this long ends."""
LONGEST = timedelta(days=14)
"""A session ends after this long, used or not."""
_FAILURES_BY_NAME, _FAILURES_BY_ADDRESS = 8, 40
_FAILURES_WITHIN = timedelta(minutes=15)
_TOUCH_EVERY = timedelta(minutes=5)
_FAILED = "sign-in failed"
_NAMED_BY = 16
"""So many hexadecimal digits of a session's hash name it to its owner."""

_user, _session, _audit = tables.user, tables.session, tables.audit


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A new session. `token` is for the person's browser only; it is not kept anywhere here."""

    user: User
    token: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Session:
    """A place where somebody is signed in. `id` names it and is no token."""

    id: str
    address: str
    created_at: datetime
    seen_at: datetime
    current: bool


@dataclass(frozen=True, slots=True)
class Deed:
    """A line of the audit log. `who` is None for what was done on the command line, or by nobody known."""

    at: datetime
    who: str | None
    action: str
    subject: str
    details: Mapping[str, Any]


async def add_user(tx: AsyncConnection, name: str, role: Role, password_hash: str) -> User:
    """Raises `ConflictError` if the name is taken and `UsageError` if it is none."""
    name = name.strip()
    if not name or role is Role.VIEWER:
        raise UsageError("a user needs a name and one of the roles editor, producer, admin")
    make = sqlite.insert if tx.dialect.name == "sqlite" else postgresql.insert
    values = {"name": name, "role": role, "password_hash": password_hash, "created_at": await now(tx)}
    statement = make(_user).values(**values).on_conflict_do_nothing().returning(_user)
    row = (await tx.execute(statement)).one_or_none()
    if row is None:
        raise ConflictError(f"there is, or was, a user {name!r}; choose another name")
    return _as_user(row)


async def users(connection: AsyncConnection) -> list[User]:
    """Everybody who may sign in, by name."""
    rows = await connection.execute(select(_user).where(_user.c.deleted_at.is_(None)).order_by(_user.c.name))
    return [_as_user(row) for row in rows]


async def change_user(
    tx: AsyncConnection, name: str, *, role: Role | None = None, password_hash: str | None = None
) -> None:
    """Give a new role or password; all sessions of the person end. Raises `NotFoundError`."""
    values: dict[str, Any] = {}
    if role is not None:
        values["role"] = role
    if password_hash is not None:
        values["password_hash"] = password_hash
    await _change(tx, name, values)


async def set_password(tx: AsyncConnection, user: User, password_hash: str, *, instead_of: str) -> None:
    """Somebody's own new password. Their sessions stay: see `sign_out_elsewhere`.

    Raises `SignInRefusedError` if it is not instead of what `check_password` gave: an admin has changed it since.
    """
    await _require_unchanged(tx, user.id, instead_of)
    await tx.execute(update(_user).where(_user.c.id == user.id).values(password_hash=password_hash))


async def remove_user(tx: AsyncConnection, name: str) -> None:
    """Let nobody sign in by this name any more; what the person did stays. Raises `NotFoundError`."""
    await _change(tx, name, {"deleted_at": await now(tx)})


async def _change(tx: AsyncConnection, name: str, values: Mapping[str, Any]) -> None:
    statement = update(_user).where(_user.c.name == name, _user.c.deleted_at.is_(None)).values(**values)
    user_id = (await tx.execute(statement.returning(_user.c.id))).scalar_one_or_none()
    if user_id is None:
        raise NotFoundError(f"there is no user {name!r}; `streamarchive users list` shows who there is")
    await _end(tx, _session.c.user_id == user_id)


async def sign_in(database: Database, name: str, password: str, address: str) -> SignedIn:
    """Begin a session. Raises `SignInRefusedError`; it does not tell a wrong name from a wrong password."""
    async with database.read() as connection:
        await _refuse_too_many(connection, name, address)
        statement = select(_user).where(_user.c.name == name.strip(), _user.c.deleted_at.is_(None))
        row = (await connection.execute(statement)).one_or_none()
    if not await passwords.verify(row.password_hash if row else None, password):
        async with database.write() as tx:
            await audit(tx, None, _FAILED, name[:200], {"address": address})
        raise SignInRefusedError("the name or the password is wrong")
    assert row is not None  # noqa: S101 - an unknown name never verifies
    async with database.read() as connection:  # guesses that ran beside this one count, too
        await _refuse_too_many(connection, name, address)
    token = secrets.token_urlsafe(32)
    async with database.write() as tx:
        await _require_unchanged(tx, row.id, row.password_hash)
        moment = await now(tx)
        await tx.execute(delete(_session).where(_session.c.expires_at < moment))
        await tx.execute(
            insert(_session).values(
                token_hash=_digest(token),
                user_id=row.id,
                address=address,
                created_at=moment,
                seen_at=moment,
                expires_at=moment + LONGEST,
            )
        )
        await audit(tx, row.id, "signed in", row.name, {"address": address})
    return SignedIn(_as_user(row), token, moment + LONGEST)


async def _require_unchanged(tx: AsyncConnection, user_id: int, password_hash: str) -> None:
    """Raise `SignInRefusedError` if the password is another since it was compared, or the person removed.

    Comparing takes a while. Nobody can change it before `tx` ends: what ends sessions sees what `tx` writes.
    """
    same = (_user.c.id == user_id) & (_user.c.password_hash == password_hash) & _user.c.deleted_at.is_(None)
    statement = select(_user.c.id).where(same)
    if tx.dialect.name != "sqlite":
        statement = statement.with_for_update(key_share=True)
    if (await tx.execute(statement)).first() is None:
        raise SignInRefusedError("the name or the password is wrong")


async def _refuse_too_many(connection: AsyncConnection, name: str, address: str) -> None:
    since = await now(connection) - _FAILURES_WITHIN
    recent = (
        select(_audit.c.subject, _audit.c.details)
        .where(_audit.c.action == _FAILED, _audit.c.at > since)
        .order_by(_audit.c.id.desc())
        .limit(1_000)
    )
    failures = (await connection.execute(recent)).all()
    by_name = sum(failure.subject == name[:200] for failure in failures)
    by_address = sum(failure.details.get("address") == address for failure in failures)
    if by_name >= _FAILURES_BY_NAME or by_address >= _FAILURES_BY_ADDRESS:
        minutes = int(_FAILURES_WITHIN.total_seconds() // 60)
        raise SignInRefusedError(f"too many attempts failed; try again in {minutes} minutes")


async def user_of(database: Database, token: str) -> User | None:
    """Whose session this is; None if it has ended or never was."""
    async with database.read() as connection:
        moment = await now(connection)
        statement = (
            select(_user, _session.c.seen_at.label("seen"))
            .join(_session, _session.c.user_id == _user.c.id)
            .where(
                _session.c.token_hash == _digest(token),
                _session.c.expires_at > moment,
                _session.c.seen_at > moment - IDLE,
                _user.c.deleted_at.is_(None),
            )
        )
        row = (await connection.execute(statement)).one_or_none()
    if row is None:
        return None
    if row.seen < moment - _TOUCH_EVERY:
        async with database.write() as tx:
            await tx.execute(
                update(_session).where(_session.c.token_hash == _digest(token)).values(seen_at=moment)
            )
    return _as_user(row)


async def check_password(database: Database, user: User, password: str) -> str:
    """What is kept of it. Raises `SignInRefusedError` unless it is theirs; wrong ones count as failures."""
    async with database.read() as connection:
        await _refuse_too_many(connection, user.name, "")
        statement = select(_user.c.password_hash).where(_user.c.id == user.id)
        kept: str = (await connection.execute(statement)).scalar_one()
    if not await passwords.verify(kept, password):
        async with database.write() as tx:
            await audit(tx, None, _FAILED, user.name, {"address": ""})
        raise SignInRefusedError("the password is wrong")
    return kept


async def sign_out(tx: AsyncConnection, token: str) -> None:
    """End this session."""
    await _end(tx, _session.c.token_hash == _digest(token))


async def sign_out_elsewhere(tx: AsyncConnection, user_id: int, token: str = "", *, session_id: str = "") -> int:
    """End the person's other sessions, or the one of them that is named; how many that were."""
    found = (await tx.execute(select(_session.c.token_hash).where(_session.c.user_id == user_id))).all()
    wanted = [
        row.token_hash
        for row in found
        if bytes(row.token_hash) != _digest(token) and _named(row.token_hash).startswith(session_id)
    ]
    await _end(tx, _session.c.token_hash.in_(wanted))
    return len(wanted)


async def sign_out_everywhere(tx: AsyncConnection, name: str) -> None:
    """End all sessions of this person. Raises `NotFoundError`."""
    user_id = (await tx.execute(select(_user.c.id).where(_user.c.name == name))).scalar_one_or_none()
    if user_id is None:
        raise NotFoundError(f"there is no user {name!r}; `streamarchive users list` shows who there is")
    await _end(tx, _session.c.user_id == user_id)


async def _end(tx: AsyncConnection, which: ColumnElement[bool]) -> None:
    await tx.execute(delete(_session).where(which))
    await changes.publish(tx, "session", None)


async def sessions(connection: AsyncConnection, user_id: int, token: str) -> list[Session]:
    """Where the person is signed in, the last used first."""
    moment = await now(connection)
    statement = select(_session).where(
        _session.c.user_id == user_id, _session.c.expires_at > moment, _session.c.seen_at > moment - IDLE
    )
    return [
        Session(
            _named(row.token_hash),
            row.address,
            row.created_at,
            row.seen_at,
            bytes(row.token_hash) == _digest(token),
        )
        for row in await connection.execute(statement.order_by(_session.c.seen_at.desc()))
    ]


async def standing(connection: AsyncConnection, tokens: Collection[str]) -> dict[str, Role]:
    """The roles of those of these tokens whose sessions have not ended."""
    moment, by_digest = await now(connection), {_digest(token): token for token in tokens}
    statement = (
        select(_session.c.token_hash, _user.c.role)
        .join(_user, _session.c.user_id == _user.c.id)
        .where(
            _session.c.token_hash.in_(list(by_digest)),
            _session.c.expires_at > moment,
            _session.c.seen_at > moment - IDLE,
            _user.c.deleted_at.is_(None),
        )
    )
    return {by_digest[bytes(row.token_hash)]: Role(row.role) for row in await connection.execute(statement)}


async def audit(
    tx: AsyncConnection, user_id: int | None, action: str, subject: str, details: Mapping[str, Any] | None = None
) -> None:
    """Note who did what, in the transaction that does it. `subject` is what it was done to."""
    await tx.execute(
        insert(_audit).values(
            at=await now(tx), user_id=user_id, action=action, subject=subject, details=dict(details or {})
        )
    )


async def deeds(connection: AsyncConnection, limit: int = 100) -> list[Deed]:
    """The newest lines of the audit log, newest first."""
    statement = (
        select(_audit, _user.c.name).outerjoin(_user, _user.c.id == _audit.c.user_id).order_by(_audit.c.id.desc())
    )
    return [
        Deed(row.at, row.name, row.action, row.subject, row.details)
        for row in await connection.execute(statement.limit(limit))
    ]


async def count(connection: AsyncConnection) -> int:
    """How many people may sign in."""
    statement = select(func.count()).select_from(_user).where(_user.c.deleted_at.is_(None))
    return int((await connection.execute(statement)).scalar_one())


def _named(token_hash: bytes) -> str:
    return bytes(token_hash).hex()[:_NAMED_BY]


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _as_user(row: Any) -> User:  # noqa: ANN401 - a result row
    return User(id=row.id, name=row.name, role=Role(row.role))
