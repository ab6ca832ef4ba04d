"""Which worker processes are alive: they say so every few seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import tables
from streamarchive.catalogue.database import now

BEAT = timedelta(seconds=10)
FRESH = timedelta(seconds=25)
"""Whoever has not been seen for this long is taken for dead."""

_t = tables.worker


@dataclass(frozen=True, slots=True)
class WorkerProcess:
    """A process and the kinds of work that it does."""

    owner: str
    kinds: tuple[str, ...]
    started_at: datetime
    seen_at: datetime

    @property
    def address(self) -> str:
        """Host and process id."""
        return self.owner.rpartition("@")[2]

    @property
    def host(self) -> str:
        """The machine it runs on."""
        return self.address.rpartition(":")[0]


async def beat(tx: AsyncConnection, owner: str, kinds: Sequence[str]) -> None:
    """I am alive."""
    moment = await now(tx)
    done = await tx.execute(update(_t).where(_t.c.owner == owner).values(seen_at=moment))
    if done.rowcount == 0:
        await tx.execute(insert(_t).values(owner=owner, kinds=list(kinds), started_at=moment, seen_at=moment))


async def leave(tx: AsyncConnection, owner: str) -> None:
    """I am stopping."""
    await tx.execute(delete(_t).where(_t.c.owner == owner))


async def alive(connection: AsyncConnection) -> list[WorkerProcess]:
    """Everybody who has been seen lately."""
    rows = await connection.execute(select(_t).where(_t.c.seen_at > await now(connection) - FRESH))
    return [WorkerProcess(row.owner, tuple(row.kinds), row.started_at, row.seen_at) for row in rows]


async def forget_dead(tx: AsyncConnection) -> None:
    """Drop those that have not been seen for an hour, and those seen in the future: the clock has been set back.

    Who lives says so again within seconds.
    """
    moment = await now(tx)
    await tx.execute(
        delete(_t).where((_t.c.seen_at < moment - timedelta(hours=1)) | (_t.c.seen_at > moment + FRESH))
    )
