"""People who sign in, their sessions, and the audit log of what they did.

Passwords are kept as argon2id hashes; computing one takes some 50 ms and 64 MB on purpose, so it happens in a
thread. A session's token is 256 random bits, of which only the SHA-256 is stored: who reads the database cannot
sign in with it. Failed sign-ins are counted by name and by address in the audit log itself.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import tables
from streamarchive.catalogue.database import Database, now
from streamarchive.errors import ConflictError, NotFoundError, SignInRefusedError, UsageError
from streamarchive.models import Role, User

if TYPE_CHECKING:
    from argon2 import PasswordHasher

IDLE = timedelta(hours=12)
"""A session that is not used for this long ends."""
LONGEST = timedelta(days=14)
"""A session ends after this long, used or not."""
SHORTEST_PASSWORD, LONGEST_PASSWORD = 8, 256
_FAILURES_BY_NAME, _FAILURES_BY_ADDRESS = 8, 40
_FAILURES_WITHIN = timedelta(minutes=15)
_TOUCH_EVERY = timedelta(minutes=5)
_FAILED = "sign-in failed"

_user, _session, _audit = tables.user, tables.session, tables.audit


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A new session. `token` is for the person's browser only; it is not kept anywhere here."""

    user: User
    token: str
    expires_at: datetime


@cache
def _hasher() -> PasswordHasher:
    from argon2 import PasswordHasher

    return PasswordHasher()


async def hash_password(password: str) -> str:
    """Raises `UsageError` for a password that is too short or too long."""
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise UsageError(f"a password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters")
    return await asyncio.to_thread(_hasher().hash, password)


def new_password() -> str:
    """Sixteen characters that are easy to read aloud and impossible to guess (80 bits)."""
    alphabet = "abcdefghjkmnpqrstvwxyz0123456789"
    letters = "".join(secrets.choice(alphabet) for _ in range(16))
    return "-".join(letters[i : i + 4] for i in range(0, 16, 4))


async def add_user(tx: AsyncConnection, name: str, role: Role, password_hash: str) -> User:
    """Raises `ConflictError` if the name is taken and `UsageError` if it is none."""
    name = name.strip()
    if not name or role is Role.VIEWER:
        raise UsageError("a user needs a name and one of the roles editor, producer, admin")
    if (await tx.execute(select(_user.c.id).where(_user.c.name == name))).first() is not None:
        raise ConflictError(f"there is a user {name!r} already")
    statement = insert(_user).values(name=name, role=role, password_hash=password_hash, created_at=await now(tx))
    return _as_user((await tx.execute(statement.returning(_user))).one())


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


async def remove_user(tx: AsyncConnection, name: str) -> None:
    """Let nobody sign in by this name any more; what the person did stays. Raises `NotFoundError`."""
    await _change(tx, name, {"deleted_at": await now(tx)})


async def _change(tx: AsyncConnection, name: str, values: Mapping[str, Any]) -> None:
    statement = update(_user).where(_user.c.name == name, _user.c.deleted_at.is_(None)).values(**values)
    user_id = (await tx.execute(statement.returning(_user.c.id))).scalar_one_or_none()
    if user_id is None:
        raise NotFoundError(f"there is no user {name!r}; `streamarchive users list` shows who there is")
    await tx.execute(delete(_session).where(_session.c.user_id == user_id))


async def sign_in(database: Database, name: str, password: str, address: str) -> SignedIn:
    """Begin a session. Raises `SignInRefusedError`; it does not tell a wrong name from a wrong password."""
    async with database.read() as connection:
        await _refuse_too_many(connection, name, address)
        statement = select(_user).where(_user.c.name == name.strip(), _user.c.deleted_at.is_(None))
        row = (await connection.execute(statement)).one_or_none()
    if not await asyncio.to_thread(_verify, row.password_hash if row else None, password):
        async with database.write() as tx:
            await audit(tx, None, _FAILED, name[:200], {"address": address})
        raise SignInRefusedError("the name or the password is wrong")
    assert row is not None  # noqa: S101 - an unknown name never verifies
    token = secrets.token_urlsafe(32)
    async with database.write() as tx:
        moment = await now(tx)
        await tx.execute(delete(_session).where(_session.c.expires_at < moment))
        await tx.execute(
            insert(_session).values(
                token_hash=_digest(token),
                user_id=row.id,
                created_at=moment,
                seen_at=moment,
                expires_at=moment + LONGEST,
            )
        )
        await audit(tx, row.id, "signed in", row.name, {"address": address})
    return SignedIn(_as_user(row), token, moment + LONGEST)


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


def _verify(password_hash: str | None, password: str) -> bool:
    """In constant time whether or not the name exists."""
    from argon2.exceptions import Argon2Error, InvalidHashError

    try:
        _hasher().verify(password_hash or _nobody(), password[:LONGEST_PASSWORD])
    except (Argon2Error, InvalidHashError):
        return False
    return password_hash is not None


@cache
def _nobody() -> str:
    return _hasher().hash(secrets.token_urlsafe(16))


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


async def sign_out(tx: AsyncConnection, token: str) -> None:
    """End this session."""
    await tx.execute(delete(_session).where(_session.c.token_hash == _digest(token)))


async def audit(
    tx: AsyncConnection, user_id: int | None, action: str, subject: str, details: Mapping[str, Any] | None = None
) -> None:
    """Note who did what, in the transaction that does it. `subject` is what it was done to."""
    await tx.execute(
        insert(_audit).values(
            at=await now(tx), user_id=user_id, action=action, subject=subject, details=dict(details or {})
        )
    )


async def count(connection: AsyncConnection) -> int:
    """How many people may sign in."""
    statement = select(func.count()).select_from(_user).where(_user.c.deleted_at.is_(None))
    return int((await connection.execute(statement)).scalar_one())


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _as_user(row: Any) -> User:  # noqa: ANN401 - a result row
    return User(id=row.id, name=row.name, role=Role(row.role))
