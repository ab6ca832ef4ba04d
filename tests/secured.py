"""What a server needs to speak https and to ask who one is: a CA of its own, a certificate, an administrator."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.services import MissingServiceError

ADMIN, PASSWORD = "admin", "correct horse battery"
_ROUNDS = 1_000


def make_secrets(folder: Path, roles: Mapping[str, Mapping[str, object]]) -> Path:
    """Fill the folder for `tests.services.elasticsearch_node`; the folder.

    There is a user for each role, of its name; all have the same password.
    """
    if shutil.which("openssl") is None:
        raise MissingServiceError("no openssl to make certificates with (Debian: apt install openssl)")
    make_ca(folder, "ca")
    request = ["-subj", "/CN=127.0.0.1", "-keyout", "node.key", "-out", "node.csr"]
    _openssl(folder, "req", "-newkey", "rsa:2048", "-nodes", *request)
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    signed_by = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names", "-days", "2"]
    _openssl(folder, "x509", "-req", "-in", "node.csr", "-out", "node.pem", *signed_by)
    users = {ADMIN: "superuser", **{name: name for name in roles}}
    (folder / "users").write_text("".join(f"{name}:{_hashed(PASSWORD)}\n" for name in users))
    (folder / "users_roles").write_text("".join(f"{role}:{name}\n" for name, role in users.items()))
    (folder / "roles.yml").write_text("".join(_role(name, rights) for name, rights in roles.items()))
    return folder


def make_ca(folder: Path, name: str) -> Path:
    """An authority that nobody but us trusts; its certificate."""
    files = ["-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", "2", "-subj", f"/CN={name} of the tests"]
    _openssl(folder, "req", "-x509", "-newkey", "rsa:2048", "-nodes", *files)
    return folder / f"{name}.pem"


def _role(name: str, rights: Mapping[str, object]) -> str:
    """A line for each right: the server looks for lines that begin with the name of a role."""
    return f"{name}:\n" + "".join(f"  {right}: {json.dumps(value)}\n" for right, value in rights.items())


def _hashed(password: str) -> str:
    """As the file of users keeps it: https://www.elastic.co/docs/reference/elasticsearch/security-privileges ."""
    salt = secrets.token_bytes(32)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ROUNDS, 32)
    return f"{{PBKDF2}}{_ROUNDS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def _openssl(folder: Path, *arguments: str) -> None:
    environment = {"PATH": os.environ["PATH"]}
    answer = subprocess.run(
        ["openssl", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if answer.returncode != 0:
        raise RuntimeError(f"openssl {arguments[0]}: {answer.stderr[-1000:]}")
