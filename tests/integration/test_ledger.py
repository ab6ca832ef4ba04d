"""Takes that are killed one after the other, before they have finished a file: nothing is doubled or lost."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest

from streamarchive.catalogue import interviews, streams
from streamarchive.errors import StorageError
from streamarchive.media.overlap import units
from streamarchive.media.segments import PACKET_BYTES
from streamarchive.models import GapReason
from tests.media import make, run_ffmpeg
from tests.recording import state
from workers.folders import Folders
from workers.ledger import Ledger

RATE = 25


@pytest.fixture(scope="module")
def seconds(tmp_path_factory):
    """Eight segments of one second; each begins with a key frame."""
    folder = tmp_path_factory.mktemp("seconds")
    source = make(folder / "whole.ts", 8)
    run_ffmpeg("-i", source, "-c", "copy", "-f", "segment", "-segment_time", "1", folder / "s%d.ts")
    return [(folder / f"s{number}.ts").read_bytes() for number in range(8)]


@pytest.fixture
async def ledger(services):
    async with services.database.write() as tx:
        interview_id = await interviews.create(tx, titles={"en": "Talk"}, languages=("en",))
        stream_id = await streams.create(tx, interview_id, "http://example.org/live.ts")
    claimed = await streams.claim(services.database, stream_id, "test", timedelta(hours=1))
    return await Ledger.open(services, claimed, Folders(services.settings.data_dir.absolute(), claimed.id))


def torn(data: bytes, part: float) -> bytes:
    return data[: int(len(data) // PACKET_BYTES * part) * PACKET_BYTES]


def take(ledger, *files: bytes) -> int:
    """What an ffmpeg has written until it ended; the number of its take."""
    number = ledger.next_folder()
    work, _ = ledger.folders.prepare(number)
    for place, data in enumerate(files):
        (work / f"s{place:08d}.ts").write_bytes(data)
    return number


async def places(services, ledger, seconds):
    """Which pictures of the source are committed, in order, without those that are torn."""
    place_of = {unit.digest: place for place, unit in enumerate(units(b"".join(seconds)))}
    _, segments, _, gaps = await state(services, ledger.stream.id)
    found = []
    for segment in segments:
        data = b"".join([chunk async for chunk in services.store.read(segment.key)])
        found += [place_of[unit.digest] for unit in units(data) if unit.digest in place_of]
    return found, gaps


@pytest.mark.parametrize("first", [0.4, 0.9])
@pytest.mark.parametrize("second", [0.3, 0.6, 1.5])
@pytest.mark.parametrize("again", [True, False], ids=["a new recorder", "the same recorder"])
async def test_a_take_killed_in_its_first_file_does_not_double_the_one_killed_before(
    services, ledger, seconds, first, second, again
):
    """Both begin with the same key frame, the last that the source has sent."""
    await ledger.commit_rest(take(ledger, seconds[0], torn(seconds[1], first)))
    await ledger.note(GapReason.PROCESS_DIED, "killed")
    repeated = seconds[1] + torn(seconds[2], second - 1) if second > 1 else torn(seconds[1], second)
    number = take(ledger, repeated)
    if again:
        stream, *_ = await state(services, ledger.stream.id)
        ledger = await Ledger.open(services, stream, ledger.folders)
        await ledger.salvage()
    else:
        await ledger.commit_rest(number)
    await ledger.note(GapReason.PROCESS_DIED, "killed")
    number = take(ledger, seconds[5], seconds[6])
    await ledger.commit_rest(number, listed="s00000001.ts")
    await ledger.finish()
    found, gaps = await places(services, ledger, seconds)
    assert all(a < b for a, b in pairwise(found)), "pictures are doubled or out of order"
    whole = {unit.digest for data in (torn(seconds[1], first), repeated) for unit in units(data)[:-1]}
    known = [unit.digest for data in seconds for unit in units(data)]
    assert {place for place, digest in enumerate(known) if digest in whole} <= set(found)
    assert set(found) >= {*range(RATE), *range(5 * RATE, 7 * RATE)}
    (gap,) = gaps
    before = sum(place < 5 * RATE for place in found) * 1000 // RATE
    assert abs(gap.at_ms - before) <= 2 * 1000 // RATE, "only what comes after both is missing"


async def test_a_take_killed_in_its_first_file_does_not_double_what_is_committed(services, ledger, seconds):
    await ledger.commit_rest(take(ledger, seconds[0], seconds[1]), listed="s00000001.ts")
    await ledger.commit_rest(take(ledger, seconds[1] + torn(seconds[2], 0.5)))
    await ledger.finish()
    found, gaps = await places(services, ledger, seconds)
    assert found[: 2 * RATE + 5] == list(range(2 * RATE + 5))
    assert all(a < b for a, b in pairwise(found))
    assert gaps == []


@pytest.mark.parametrize("missed", [False, True], ids=["all is sent again", "some is missed"])
async def test_what_waits_for_the_store_is_not_doubled_when_it_is_tried_again(
    services, ledger, seconds, missed, monkeypatch
):
    """The store fills up when a torn file is held back and what is there tells how much of it came again."""
    await ledger.commit_rest(take(ledger, seconds[0], seconds[1] + torn(seconds[2], 0.6)))
    await ledger.note(GapReason.PROCESS_DIED, "killed")
    coming = [seconds[4], seconds[5]] if missed else [seconds[1] + seconds[2], seconds[3]]
    number = take(ledger, *coming)
    first = ledger.folders.take(number) / "s00000000.ts"

    async def has_no_room(file, prefix, suffix):
        raise StorageError("no room")

    for _ in range(2):
        with monkeypatch.context() as patched, pytest.raises(StorageError):
            patched.setattr(services.store, "adopt", has_no_room)
            await ledger.commit(first, number)
    await ledger.commit(first, number)
    await ledger.commit_rest(number, listed="s00000001.ts")
    await ledger.finish()
    found, gaps = await places(services, ledger, seconds)
    assert all(a < b for a, b in pairwise(found)), "pictures are doubled or out of order"
    known = [unit.digest for data in seconds for unit in units(data)]
    assert set(found) >= {known.index(unit.digest) for data in (*seconds[:2], *coming) for unit in units(data)}
    assert len(gaps) == missed


@pytest.mark.parametrize("known", [0.9, 1.9], ids=["torn", "finished and torn"])
@pytest.mark.parametrize("again", [True, False], ids=["a new recorder", "the same recorder"])
async def test_what_was_sent_before_the_recording_began_does_not_come_into_it(
    services, ledger, seconds, known, again
):
    """Killed after a moment; what is asked for again reaches back further than what is there."""
    first = [seconds[4]] * (known > 1) + [torn(seconds[5 if known > 1 else 4], 0.9)]
    await ledger.commit_rest(take(ledger, *first))
    await ledger.note(GapReason.PROCESS_DIED, "killed")
    number = take(ledger, seconds[0] + seconds[1], seconds[2] + seconds[3], seconds[4] + seconds[5], seconds[6])
    if again:
        stream, *_ = await state(services, ledger.stream.id)
        ledger = await Ledger.open(services, stream, ledger.folders)
        await ledger.salvage()
    else:
        ledger.expect(number, 6.0)
        for name in range(4):
            await ledger.commit(ledger.folders.take(number) / f"s{name:08d}.ts", number)
            assert ledger.has_got(number)
        await ledger.commit_rest(number, listed="s00000003.ts")
    await ledger.finish()
    found, gaps = await places(services, ledger, seconds)
    assert found == list(range(4 * RATE, 7 * RATE))
    assert gaps == []


@pytest.mark.parametrize("finished", [2, 4], ids=["the take ends first", "it is waited for long enough"])
async def test_what_has_nothing_in_common_is_kept_in_order(services, ledger, seconds, finished):
    """A source that sends something else than before, though it was asked for what it had sent."""
    await ledger.commit_rest(take(ledger, torn(seconds[0], 0.9)))
    await ledger.note(GapReason.PROCESS_DIED, "killed")
    number = take(ledger, *seconds[2 : 2 + finished])
    ledger.expect(number, 3.0)
    there = []
    for name in range(finished):
        await ledger.commit(ledger.folders.take(number) / f"s{name:08d}.ts", number)
        _, segments, *_ = await state(services, ledger.stream.id)
        there.append(len(segments))
    assert there == [0, 0, 0, 5][:finished], "nothing is committed before what may stand in front of it"
    await ledger.commit_rest(number, listed=f"s{finished - 1:08d}.ts")
    await ledger.finish()
    found, gaps = await places(services, ledger, seconds)
    assert found == [*found[: found.index(2 * RATE)], *range(2 * RATE, (2 + finished) * RATE)]
    assert len(found) > finished * RATE + 20
    assert len(gaps) == 1
