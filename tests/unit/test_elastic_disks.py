"""The server's own reckoning of when a disk is too full, on disks of several sizes."""

from __future__ import annotations

import pytest

from streamarchive.search.elastic_disks import Disk, Watermark, Watermarks, fullness

GB = 1024**3
PREFIX = "cluster.routing.allocation.disk"
DEFAULTS = {
    f"{PREFIX}.threshold_enabled": "true",
    f"{PREFIX}.watermark.low": "85%",
    f"{PREFIX}.watermark.low.max_headroom": "200GB",
    f"{PREFIX}.watermark.flood_stage": "95%",
    f"{PREFIX}.watermark.flood_stage.max_headroom": "100GB",
}


@pytest.mark.parametrize(
    ("setting", "headroom", "total", "used"),
    [
        ("85%", "200GB", 100 * GB, 0.85),
        ("85%", "200GB", 10_000 * GB, 0.98),
        ("85%", "-1", 10_000 * GB, 0.85),
        ("0.85", "-1", 100 * GB, 0.85),
        ("20gb", "-1", 100 * GB, 0.80),
        ("20480mb", "-1", 100 * GB, 0.80),
        ("200gb", "-1", 100 * GB, 0.0),
    ],
)
def test_a_watermark_lies_where_the_server_puts_it(setting: str, headroom: str, total: int, used: float) -> None:
    assert Watermark(setting, headroom).used(total) == pytest.approx(used)


def test_the_disk_nearest_to_its_watermark_is_told() -> None:
    large, small = Disk(10_000 * GB, 500 * GB), Disk(100 * GB, 16 * GB)
    ok, sentence = fullness([large, small], Watermarks.of(DEFAULTS))
    assert (ok, sentence) == (True, "the fullest node has 84% of its disk in use (watermarks 85% and 95%)")
    ok, sentence = fullness([large, Disk(100 * GB, 15 * GB)], Watermarks.of(DEFAULTS))
    assert not ok
    ok, sentence = fullness([Disk(10_000 * GB, 190 * GB)], Watermarks.of(DEFAULTS))
    assert (ok, sentence) == (False, "the fullest node has 98% of its disk in use (watermarks 98% and 99%)")


def test_a_server_that_heeds_no_watermark_is_never_too_full() -> None:
    heedless = Watermarks.of({**DEFAULTS, f"{PREFIX}.threshold_enabled": "false"})
    ok, sentence = fullness([Disk(100 * GB, GB)], heedless)
    assert ok
    assert "threshold_enabled is false" in sentence


def test_a_server_that_says_nothing_of_its_disks_is_taken_at_its_word() -> None:
    assert fullness([], Watermarks.of({}))[0]
