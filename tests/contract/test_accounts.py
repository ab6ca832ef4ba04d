"""Who may sign in, and what a session is worth, on both databases."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import accounts, changes, passwords, tables
from streamarchive.catalogue.database import Database, now
from streamarchive.errors import ConflictError, NotFoundError, SignInRefusedError, UsageError
from streamarchive.models import Role, User
from tests.interleaving import interleaved, waiting
from tests.waiting import until_async

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


@pytest.mark.parametrize("what", ["password", "removal"])
async def test_a_password_that_is_changed_while_it_is_compared_begins_no_session(
    database: Database, editor: User, monkeypatch: pytest.MonkeyPatch, what: str
):
    verify, another = passwords.verify, await passwords.hash_password("another one")

    async def and_meanwhile(password_hash: str | None, password: str) -> bool:
        is_right = await verify(password_hash, password)
        async with database.write() as tx:
            if what == "removal":
                await accounts.remove_user(tx, "eva")
            else:
                await accounts.change_user(tx, "eva", password_hash=another)
        return is_right

    monkeypatch.setattr(passwords, "verify", and_meanwhile)
    with pytest.raises(SignInRefusedError, match="wrong"):
        await accounts.sign_in(database, "eva", PASSWORD, "192.0.2.1")
    async with database.read() as connection:
        assert (await connection.execute(select(tables.session))).all() == []


async def test_a_session_does_not_begin_beside_what_ends_all_of_them(postgresql_catalogue: str):
    """The password is being changed, and the change not yet committed."""
    database = Database(postgresql_catalogue)
    async with database.write() as tx:
        await accounts.add_user(tx, "eva", Role.EDITOR, await passwords.hash_password(PASSWORD))
    async with database.write() as tx:
        await accounts.change_user(tx, "eva", password_hash="another")
        signing_in = asyncio.create_task(accounts.sign_in(database, "eva", PASSWORD, "192.0.2.1"))

        async def waits_or_is_done() -> bool:
            return signing_in.done() or await waiting(database, 1)

        await until_async(waits_or_is_done, "the sign-in to wait")
    with pytest.raises(SignInRefusedError, match="wrong"):
        await signing_in
    await database.close()


async def test_nobody_takes_back_what_an_admin_has_just_changed(database: Database, editor: User):
    """Whoever knows the old password may have sent a new one of their own at the same moment."""
    former = await accounts.check_password(database, editor, PASSWORD)
    async with database.write() as tx:
        await accounts.change_user(tx, "eva", password_hash="by the admin")
    with pytest.raises(SignInRefusedError):
        async with database.write() as tx:
            await accounts.set_password(tx, editor, "their own", instead_of=former)
    async with database.read() as connection:
        kept = (await connection.execute(select(tables.user.c.password_hash))).scalar_one()
    assert kept == "by the admin"


async def test_of_two_who_add_the_same_name_at_once_one_is_told(database: Database):
    async def add(tx: AsyncConnection) -> User:
        return await accounts.add_user(tx, "adam", Role.EDITOR, "hash")

    added, refused = await interleaved(database, add, add)
    assert added.name == "adam"
    assert isinstance(refused, ConflictError)


async def test_guesses_that_run_beside_each_other_count_too(
    database: Database, editor: User, monkeypatch: pytest.MonkeyPatch
):
    """The right one comes with a burst of wrong ones, and is looked at when too many of them have failed."""
    verify, looked_at, may_go_on = passwords.verify, asyncio.Event(), asyncio.Event()

    async def verify_in_turn(password_hash: str | None, password: str) -> bool:
        if password == PASSWORD:
            looked_at.set()
            await may_go_on.wait()
        return await verify(password_hash, password)

    monkeypatch.setattr(passwords, "verify", verify_in_turn)
    right = asyncio.create_task(accounts.sign_in(database, "eva", PASSWORD, "192.0.2.1"))
    await looked_at.wait()
    wrong = [accounts.sign_in(database, "eva", f"guess number {n}", "192.0.2.1") for n in range(10)]
    outcomes = await asyncio.gather(*wrong, return_exceptions=True)
    assert all(isinstance(outcome, SignInRefusedError) for outcome in outcomes)
    may_go_on.set()
    with pytest.raises(SignInRefusedError, match="too many attempts failed"):
        await right


async def test_so_many_sign_ins_wait_and_no_more(database: Database, editor: User):
    attempts = [accounts.sign_in(database, f"name {n}", "guess guess", f"192.0.2.{n}") for n in range(60)]
    outcomes = [str(outcome) for outcome in await asyncio.gather(*attempts, return_exceptions=True)]
    refused = [outcome for outcome in outcomes if "at this moment" in outcome]
    assert 0 < len(refused) < 60
    assert all("at this moment" in outcome or "wrong" in outcome for outcome in outcomes)


async def test_a_person_sees_where_they_are_signed_in_and_ends_it(database: Database, editor: User):
    here = (await accounts.sign_in(database, "eva", PASSWORD, "192.0.2.1")).token
    there = (await accounts.sign_in(database, "eva", PASSWORD, "198.51.100.7")).token
    elsewhere = (await accounts.sign_in(database, "eva", PASSWORD, "203.0.113.9")).token
    async with database.read() as connection:
        sessions = await accounts.sessions(connection, editor.id, here)
    by_address = {session.address: session for session in sessions}
    assert [session.current for session in sessions].count(True) == 1
    assert by_address["192.0.2.1"].current
    assert not any(session.id in token for session in sessions for token in (here, there, elsewhere))
    async with database.write() as tx:
        named = by_address["198.51.100.7"].id
        assert await accounts.sign_out_elsewhere(tx, editor.id, here, session_id=named) == 1
    assert await accounts.user_of(database, there) is None
    assert await accounts.user_of(database, elsewhere) == editor
    async with database.write() as tx:
        assert await accounts.sign_out_elsewhere(tx, editor.id, here) == 1
    async with database.read() as connection:
        assert await accounts.standing(connection, [here, there, elsewhere]) == {here: Role.EDITOR}


async def test_nobody_ends_the_sessions_of_others_by_naming_them(database: Database, editor: User):
    token = (await accounts.sign_in(database, "eva", PASSWORD, "192.0.2.1")).token
    async with database.read() as connection:
        (session,) = await accounts.sessions(connection, editor.id, token)
    async with database.write() as tx:
        other = await accounts.add_user(tx, "adam", Role.ADMIN, "hash")
        assert await accounts.sign_out_elsewhere(tx, other.id, "", session_id=session.id) == 0
    assert await accounts.user_of(database, token) == editor


async def test_open_pages_learn_that_a_session_has_ended(database: Database, editor: User):
    for end in (
        lambda tx: accounts.sign_out(tx, "any"),
        lambda tx: accounts.change_user(tx, "eva", role=Role.ADMIN),
        lambda tx: accounts.sign_out_everywhere(tx, "eva"),
        lambda tx: accounts.remove_user(tx, "eva"),
    ):
        async with database.write() as tx:
            before = await changes.newest_id(tx)
            await end(tx)
        async with database.read() as connection:
            assert [change.kind for change in await changes.after(connection, before)] == ["session"]


async def test_the_audit_log_is_read_newest_first(database: Database, editor: User):
    async with database.write() as tx:
        await accounts.audit(tx, editor.id, "interview created", "abc", {"titles": {"zh": "电池"}})
        await accounts.audit(tx, None, "user added", "adam")
    async with database.read() as connection:
        newest, older = await accounts.deeds(connection, 2)
    assert (newest.who, newest.action, newest.subject) == (None, "user added", "adam")
    assert (older.who, older.details) == ("eva", {"titles": {"zh": "电池"}})
