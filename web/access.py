"""Who asks, and the one door to an interview; `streamarchive.catalogue.interviews` decides who may see it."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import interviews
from streamarchive.errors import NotFoundError
from streamarchive.models import Interview, Role, User

from .languages import Language

_RANK = {Role.VIEWER: 0, Role.EDITOR: 1, Role.PRODUCER: 2, Role.ADMIN: 3}


@dataclass(frozen=True, slots=True)
class Asker:
    """The person behind a request. Without an account one is a viewer."""

    role: Role = Role.VIEWER
    user: User | None = None
    form_token: str = ""
    """What forms of this session carry, so that no other site can send them."""
    session_token: str = field(default="", repr=False)
    """Of the session that the person is signed in with."""

    def has(self, role: Role) -> bool:
        """Whether they may do what this role may."""
        return _RANK[self.role] >= _RANK[role]

    @property
    def is_producer(self) -> bool:
        """Whether the desk is theirs."""
        return self.has(Role.PRODUCER)


@dataclass(frozen=True, slots=True)
class Visit:
    """Who sent a request and in which language they read."""

    asker: Asker
    language: Language


async def open_interview(connection: AsyncConnection, asker: Asker, interview_id: str) -> Interview:
    """The interview, if it is there for this person. Every route about one goes through here.

    Raises `NotFoundError`, the same whether there is none or it is hidden.
    """
    interview = await interviews.get(connection, interview_id)
    if not interviews.may_see(interview, asker.role):
        raise NotFoundError(f"there is no interview {interview_id}")
    return interview
