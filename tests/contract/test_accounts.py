"""Who may sign in, and what a session is worth, on both databases."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from streamarchive.catalogue import accounts, passwords, tables
from streamarchive.catalogue.database import Database, now
from streamarchive.errors import ConflictError, NotFoundError, SignInRefusedError, UsageError
from streamarchive.models import Role, User

PASSWORD = "correct horse battery"


@pytest.fixture
async def editor(database: Database) -> User:
    password_hash = await passwords.hash_password(PASSWORD)
    async with database.write() as tx:
        return await accounts.add_user(tx, "eva", Role.EDITOR, password_hash)


async def test_a_session_belongs_to_whoever_signed_in(database: Database, editor: User):
    signed_in = await accounts.sign_in(database, "eva", PASSWORD, "192.0.2.1")
    assert signed_in.user == editor
    assert await accounts.user_of(database, signed_in.token) == editor
    assert await accounts.user_of(database, signed_in.token + "x") is None


async def test_neither_password_nor_token_can_be_read_from_the_database(database: Database, editor: User):
    signed_in = await accounts.sign_in(database, "eva", PASSWORD, "192.0.2.1")
    async with database.read() as connection:
        user = (await connection.execute(select(tables.user))).one()
        session = (await connection.execute(select(tables.session))).one()
    assert user.password_hash.startswith("$argon2id$")
    assert PASSWORD not in user.password_hash
    assert signed_in.token.encode() not in bytes(session.token_hash)


async def test_a_wrong_name_and_a_wrong_password_are_refused_alike(database: Database, editor: User):
    sentences = set()
    for name, password in (("eva", "wrong password"), ("adam", PASSWORD)):
        with pytest.raises(SignInRefusedError) as refused:
            await accounts.sign_in(database, name, password, "192.0.2.1")
        sentences.add(str(refused.value))
    assert len(sentences) == 1


async def test_guessing_is_stopped_even_with_the_right_password_at_last(database: Database, editor: User):
    for _ in range(8):
        with pytest.raises(SignInRefusedError, match="wrong"):
            await accounts.sign_in(database, "eva", "guess guess", "192.0.2.1")
    with pytest.raises(SignInRefusedError, match="too many"):
        await accounts.sign_in(database, "eva", PASSWORD, "198.51.100.7")
    async with database.write() as tx:  # a quarter of an hour later
        long_ago = await now(tx) - timedelta(minutes=16)
        await tx.execute(update(tables.audit).values(at=long_ago))
    await accounts.sign_in(database, "eva", PASSWORD, "192.0.2.1")


async def test_sessions_end_by_signing_out_by_age_and_by_idleness(database: Database, editor: User):
    tokens = [(await accounts.sign_in(database, "eva", PASSWORD, "192.0.2.1")).token for _ in range(3)]
    async with database.write() as tx:
        await accounts.sign_out(tx, tokens[0])
        moment = await now(tx)
        for token, values in (
            (tokens[1], {"expires_at": moment - timedelta(seconds=1)}),
            (tokens[2], {"seen_at": moment - accounts.IDLE}),
        ):
            row = tables.session.c.token_hash == accounts._digest(token)
            await tx.execute(update(tables.session).where(row).values(**values))
    for token in tokens:
        assert await accounts.user_of(database, token) is None


@pytest.mark.parametrize("what", ["role", "password", "removal"])
async def test_a_change_of_the_account_ends_its_sessions(database: Database, editor: User, what: str):
    token = (await accounts.sign_in(database, "eva", PASSWORD, "192.0.2.1")).token
    async with database.write() as tx:
        if what == "removal":
            await accounts.remove_user(tx, "eva")
        elif what == "role":
            await accounts.change_user(tx, "eva", role=Role.ADMIN)
        else:
            await accounts.change_user(tx, "eva", password_hash=await passwords.hash_password("another one"))
    assert await accounts.user_of(database, token) is None


async def test_names_are_unique_and_passwords_of_a_sensible_length(database: Database, editor: User):
    async with database.write() as tx:
        with pytest.raises(ConflictError):
            await accounts.add_user(tx, " eva ", Role.ADMIN, "hash")
        with pytest.raises(UsageError):
            await accounts.add_user(tx, "viewer", Role.VIEWER, "hash")
        with pytest.raises(NotFoundError):
            await accounts.remove_user(tx, "nobody")
    for password in ("short", "x" * 257):
        with pytest.raises(UsageError):
            await passwords.hash_password(password)
