"""Reading ahead: how far, in which order, and how it ends."""

import asyncio
from contextlib import aclosing

import pytest

from streamarchive.transcription.ahead import read_ahead

ROOM = 3


class Source:
    """Numbers from 0 on, which it notes when they are got; at `fails_at` it fails."""

    def __init__(self, count: int, fails_at: int | None = None) -> None:
        self.count, self.fails_at = count, fails_at
        self.got: list[int] = []
        self.closed = False

    async def numbers(self):
        try:
            for number in range(self.count):
                if number == self.fails_at:
                    raise ValueError(f"no {number}")
                self.got.append(number)
                yield number
        finally:
            self.closed = True


async def settled():
    """Whatever can go on has gone on."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_all_items_come_in_their_order():
    source = Source(50)
    assert [number async for number in read_ahead(source.numbers(), ROOM)] == list(range(50))
    assert source.closed


async def test_no_more_is_got_than_there_is_room_for():
    source = Source(50)
    async with aclosing(read_ahead(source.numbers(), ROOM)) as items:
        for asked in range(1, 5):
            await anext(items)
            await settled()
            # What was asked for, what is ready, and one that waits for a place.
            assert len(source.got) == asked + ROOM + 1


async def test_a_failure_comes_after_what_was_got_before_it():
    source = Source(50, fails_at=2)
    items = read_ahead(source.numbers(), ROOM)
    assert [await anext(items), await anext(items)] == [0, 1]
    with pytest.raises(ValueError, match="no 2"):
        await anext(items)
    assert source.closed


@pytest.mark.parametrize("asked", [1, 4])
async def test_who_asks_no_further_closes_the_source(asked):
    source = Source(50)
    async with aclosing(read_ahead(source.numbers(), ROOM)) as items:
        for _ in range(asked):
            await anext(items)
    assert source.closed


async def test_a_source_that_is_cancelled_by_others_leaves_nobody_waiting():
    async def cancelled():
        yield 0
        raise asyncio.CancelledError

    items = read_ahead(cancelled(), ROOM)
    assert await anext(items) == 0
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(anext(items), 20)


async def test_a_source_that_waits_forever_ends_with_who_waits_for_it():
    closed = False

    async def nothing():
        nonlocal closed
        try:
            await asyncio.Event().wait()
            yield 0
        finally:
            closed = True

    waiting = asyncio.create_task(anext(read_ahead(nothing(), ROOM)))
    await settled()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert closed
