"""`users`: who may sign in. Nobody has a default password."""

from __future__ import annotations

import argparse
import getpass
import json
import sys

from streamarchive.catalogue import accounts, passwords
from streamarchive.cli import console
from streamarchive.errors import UsageError
from streamarchive.models import Role
from streamarchive.services import open_services
from streamarchive.settings import Settings


async def add(settings: Settings, options: argparse.Namespace) -> None:
    """Add somebody; the password is typed, read from stdin, or made up and shown once."""
    password, made_up = _password(options)
    password_hash = await passwords.hash_password(password)
    async with open_services(settings) as services, services.database.write() as tx:
        user = await accounts.add_user(tx, options.name, Role(options.role), password_hash)
        await accounts.audit(tx, None, "user added", user.name, {"role": user.role})
    console.out(f"{user.name} may sign in as {user.role}." + (f" Password: {password}" if made_up else ""))


async def change(settings: Settings, options: argparse.Namespace) -> None:
    """Give a new role, or a new password; the person's sessions end."""
    role = Role(options.role) if options.role else None
    password, made_up = ("", False) if role else _password(options)
    password_hash = await passwords.hash_password(password) if password else None
    async with open_services(settings) as services, services.database.write() as tx:
        await accounts.change_user(tx, options.name, role=role, password_hash=password_hash)
        await accounts.audit(tx, None, "user changed", options.name, {"role": role or ""})
    console.out(f"{options.name} is changed." + (f" Password: {password}" if made_up else ""))


async def remove(settings: Settings, options: argparse.Namespace) -> None:
    """Nobody signs in by this name any more."""
    async with open_services(settings) as services, services.database.write() as tx:
        await accounts.remove_user(tx, options.name)
        await accounts.audit(tx, None, "user removed", options.name)
    console.out(f"{options.name} may not sign in any more.")


async def sign_out(settings: Settings, options: argparse.Namespace) -> None:
    """End all sessions of somebody: a device is lost, or a browser was left open."""
    async with open_services(settings) as services, services.database.write() as tx:
        await accounts.sign_out_everywhere(tx, options.name)
        await accounts.audit(tx, None, "sessions ended", options.name)
    console.out(f"{options.name} is signed out everywhere.")


async def audit(settings: Settings, options: argparse.Namespace) -> None:
    """Who did what, newest last."""
    async with open_services(settings) as services, services.database.read() as connection:
        deeds = await accounts.deeds(connection, options.limit)
    for deed in reversed(deeds):
        if options.json:
            values = {"who": deed.who, "action": deed.action, "subject": deed.subject, "details": deed.details}
            console.out(json.dumps({"at": deed.at.isoformat(), **values}, ensure_ascii=False))
        else:
            details = json.dumps(deed.details, ensure_ascii=False) if deed.details else ""
            console.out(
                f"{deed.at:%Y-%m-%d %H:%M:%S}Z  {deed.who or '-':12}  {deed.action}: {deed.subject} {details}"
            )


async def show(settings: Settings, _options: argparse.Namespace) -> None:
    """Everybody who may sign in."""
    async with open_services(settings) as services, services.database.read() as connection:
        for user in await accounts.users(connection):
            console.out(f"{user.role:9} {user.name}")


def _password(options: argparse.Namespace) -> tuple[str, bool]:
    """The password, and whether it was made up here."""
    if options.generate:
        return passwords.new_password(), True
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n"), False
    first = getpass.getpass(f"Password for {options.name}: ")
    if first != getpass.getpass("Once more: "):
        raise UsageError("the two passwords differ")
    return first, False
