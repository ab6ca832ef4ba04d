import asyncio

from streamarchive.demo.encoder import EncodedSegment
from streamarchive.demo.playlist import KEPT, WINDOW, LivePlaylist


async def grown(count, first=0):
    playlist = LivePlaylist(first)
    stale = [await playlist.add(EncodedSegment(f"segment-{first + n:06}.ts", 1.0)) for n in range(count)]
    return playlist, [name for name in stale if name]


async def test_the_newest_segments_are_listed_and_old_files_named_for_deletion():
    playlist, stale = await grown(KEPT + 2)
    text = playlist.text()
    assert text.count("#EXTINF") == WINDOW
    assert f"#EXT-X-MEDIA-SEQUENCE:{KEPT + 2 - WINDOW}\n" in text
    assert stale == ["segment-000000.ts", "segment-000001.ts"]
    assert "#EXT-X-DISCONTINUITY\n" not in text


async def test_after_a_restart_numbers_go_on_and_the_break_is_marked():
    playlist, _ = await grown(2, first=17)
    assert "#EXT-X-MEDIA-SEQUENCE:17\n#EXT-X-DISCONTINUITY-SEQUENCE:0\n#EXT-X-DISCONTINUITY\n" in playlist.text()


async def test_breaks_that_have_left_the_list_are_counted():
    playlist, _ = await grown(3)
    playlist.interrupt()
    for n in range(3, KEPT + WINDOW):
        await playlist.add(EncodedSegment(f"segment-{n:06}.ts", 1.0))
    assert "#EXT-X-DISCONTINUITY-SEQUENCE:1\n" in playlist.text()


async def test_the_target_duration_covers_the_longest_segment_listed():
    playlist = LivePlaylist(0)
    await playlist.add(EncodedSegment("segment-000000.ts", 2.6))
    assert "#EXT-X-TARGETDURATION:3\n" in playlist.text()


async def test_whoever_asks_just_before_a_segment_is_finished_gets_it():
    playlist, _ = await grown(1)
    playlist._last_at -= 0.8
    waiting = asyncio.create_task(playlist.wait_if_due())
    await asyncio.sleep(0)
    assert not waiting.done()
    await playlist.add(EncodedSegment("segment-000001.ts", 1.0))
    await asyncio.wait_for(waiting, 5)


async def test_nobody_waits_right_after_a_segment_or_for_a_broadcast_that_is_over():
    playlist, _ = await grown(1)
    await asyncio.wait_for(playlist.wait_if_due(), 0.2)
    playlist._last_at -= 0.8
    await playlist.end()
    await asyncio.wait_for(playlist.wait_if_due(), 0.2)
    assert playlist.text().endswith("#EXT-X-ENDLIST\n")


async def test_the_first_segment_is_waited_for():
    playlist = LivePlaylist(0)
    waiting = asyncio.create_task(playlist.wait_if_due())
    await asyncio.sleep(0)
    assert not waiting.done()
    await playlist.add(EncodedSegment("segment-000000.ts", 1.0))
    await asyncio.wait_for(waiting, 5)
