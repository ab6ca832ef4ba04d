"""Passwords, kept as argon2id hashes.

Computing one takes some 50 ms and 64 MB on purpose, so it happens in one of two threads, and for few people at a
time: nobody can fill the memory or the queue by knocking.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from streamarchive.errors import SignInRefusedError, UsageError

if TYPE_CHECKING:
    from argon2 import PasswordHasher

SHORTEST, LONGEST = 8, 256
_AT_ONCE, _MOST_WAITING = 2, 20

T = TypeVar("T")
_waiting = 0


async def hash_password(password: str) -> str:
    """Raises `UsageError` for a password that is too short or too long."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise UsageError(f"a password has {SHORTEST} to {LONGEST} characters")
    return await _hashing(_hasher().hash, password)


async def verify(password_hash: str | None, password: str) -> bool:
    """Whether it is the password of this hash; takes as long if there is none. Raises `SignInRefusedError`."""
    return await _hashing(_verify, password_hash, password)


def new_password() -> str:
    """Sixteen characters that are easy to read aloud and impossible to guess (80 bits)."""
    alphabet = "abcdefghjkmnpqrstvwxyz0123456789"
    letters = "".join(secrets.choice(alphabet) for _ in range(16))
    return "-".join(letters[i : i + 4] for i in range(0, 16, 4))


async def _hashing(work: Callable[..., T], *arguments: object) -> T:
    global _waiting
    if _waiting >= _MOST_WAITING:
        raise SignInRefusedError("too many people are signing in at this moment; try again in a few seconds")
    _waiting += 1
    try:
        return await asyncio.get_running_loop().run_in_executor(_threads(), work, *arguments)
    finally:
        _waiting -= 1


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_AT_ONCE, "passwords")


@cache
def _hasher() -> PasswordHasher:
    from argon2 import PasswordHasher

    return PasswordHasher()


def _verify(password_hash: str | None, password: str) -> bool:
    from argon2.exceptions import Argon2Error, InvalidHashError

    try:
        _hasher().verify(password_hash or _nobody(), password[:LONGEST])
    except (Argon2Error, InvalidHashError):
        return False
    return password_hash is not None


@cache
def _nobody() -> str:
    return _hasher().hash(secrets.token_urlsafe(16))
