from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from streamarchive.media import playlists
from streamarchive.models import MediaSegment, RecordingId, TakeId

NOON = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def segment(sequence: int, *, take: int = 1, ticks: int = 360_000) -> MediaSegment:
    return MediaSegment(
        recording_id=RecordingId(1),
        take_id=TakeId(take),
        sequence=sequence,
        key=f"k{sequence}",
        size_bytes=188,
        sha256="0" * 64,
        start_ticks=sequence * 360_000,
        duration_ticks=ticks,
        pts_ticks=sequence * 360_000,
        arrived_at=NOON + timedelta(seconds=4 * sequence),
    )


def address(item: MediaSegment) -> str:
    return f"segments/{item.sequence}.ts"


def test_a_live_playlist_holds_everything_from_the_start_and_has_no_end():
    lines = playlists.live([segment(0), segment(1)], address).splitlines()
    assert lines == [
        "#EXTM3U",
        "#EXT-X-VERSION:6",
        "#EXT-X-TARGETDURATION:4",
        "#EXT-X-PLAYLIST-TYPE:EVENT",
        "#EXT-X-INDEPENDENT-SEGMENTS",
        "#EXT-X-MEDIA-SEQUENCE:0",
        "#EXT-X-PROGRAM-DATE-TIME:2026-05-01T11:59:56.000Z",
        "#EXTINF:4.000000,",
        "segments/0.ts",
        "#EXTINF:4.000000,",
        "segments/1.ts",
    ]


def test_a_live_playlist_only_ever_grows():
    segments = [segment(0), segment(1), segment(2, take=2), segment(3, take=2)]
    for count in range(1, len(segments)):
        assert playlists.live(segments, address).startswith(playlists.live(segments[:count], address))


def test_takes_are_divided_by_a_discontinuity_with_its_own_date():
    second = replace(segment(1, take=2), arrived_at=NOON + timedelta(minutes=1))
    lines = playlists.live([segment(0), second], address).splitlines()
    at = lines.index("#EXT-X-DISCONTINUITY")
    assert lines[at + 1] == "#EXT-X-PROGRAM-DATE-TIME:2026-05-01T12:00:56.000Z"
    assert lines.count("#EXT-X-DISCONTINUITY") == 1


def test_a_complete_playlist_ends():
    text = playlists.complete([segment(0)], address)
    assert "#EXT-X-PLAYLIST-TYPE:VOD" in text
    assert text.endswith("#EXT-X-ENDLIST\n")


def test_the_target_covers_the_longest_observed_segment():
    text = playlists.live([segment(0), segment(1, ticks=945_000)], address)
    assert "#EXT-X-TARGETDURATION:11\n" in text


def test_an_empty_live_playlist_is_valid():
    assert playlists.live([], address).startswith("#EXTM3U\n")


def test_an_absent_segment_keeps_its_place_and_what_follows_says_when_it_was():
    segments = [segment(number) for number in range(4)]
    text = playlists.live(segments, address, lambda item: item.sequence in (1, 2))
    lines = text.splitlines()
    assert [line for line in lines if not line.startswith("#")] == [address(item) for item in segments]
    assert text.count("#EXT-X-GAP\n") == 2
    assert "#EXT-X-DISCONTINUITY" not in text
    behind = lines.index(address(segments[3]))
    assert lines[behind - 2].startswith("#EXT-X-PROGRAM-DATE-TIME:2026-05-01T12:00:08.000Z")
    assert lines[lines.index(address(segments[1])) - 2] == "#EXT-X-GAP"
    assert playlists.live(segments, address) == text.replace("#EXT-X-GAP\n", "").replace(
        lines[behind - 2] + "\n", ""
    )
