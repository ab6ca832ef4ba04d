"""A broadcast that tells the time, recorded with interruptions: what Chromium shows is on the media clock."""

from __future__ import annotations

import asyncio

import numpy as np

from streamarchive.clock import to_ms
from streamarchive.demo.picture import HEIGHT, STRIP_BLOCK_HEIGHT, STRIP_TOP, WIDTH, read_strip
from streamarchive.models import JobState, Visibility
from tests import clockwork
from tests.browser.test_interview_page import live_video, opened
from tests.crashes import Crashes
from tests.integration.test_finaliser import finalise
from tests.truth import broadcast
from tests.waiting import until_async

HLS_MS = 200
FILE_MS = 40
BLOCK_SAMPLES = 4096
_LEAST_BURSTS = 10
_LISTENINGS = 4
LATENCY_SECONDS = 2 * BLOCK_SAMPLES / clockwork.SOUND_RATE
"""How long before its `playbackTime` the browser has a block of sound: it fills one while another is played."""

OPEN = """async (address) => {
    const scripts = performance.getEntriesByType("resource").map(({ name }) => name);
    const { openPlayer } = await import(scripts.find((name) => /\\/player[^/]*\\.js/.test(name)));
    const shown = document.getElementById("player");
    const video = Object.assign(document.createElement("video"), { muted: true });
    if (address) Object.assign(video.dataset, { playlist: address, hls: window.hlsScript ?? shown.dataset.hls });
    else video.src = shown.currentSrc || shown.src;
    document.body.append(video);
    window.player = await openPlayer(video);
}"""
READ = """async (ms) => {
    const { player } = window, video = player.element;
    const seeked = new Promise((resolve) => video.addEventListener("seeked", resolve, { once: true }));
    const presented = new Promise((resolve) => video.requestVideoFrameCallback(resolve));
    player.seek(ms);
    await Promise.all([seeked, presented]);
    await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
    const canvas = Object.assign(document.createElement("canvas"), { width: WIDTH, height: HEIGHT });
    const context = canvas.getContext("2d");
    context.drawImage(video, 0, 0, WIDTH, HEIGHT);
    const pixels = context.getImageData(0, ROW, WIDTH, 1).data;
    return [player.now(), Array.from({ length: WIDTH }, (_, x) => pixels[4 * x])];
}"""
for name, value in (("WIDTH", WIDTH), ("HEIGHT", HEIGHT), ("ROW", STRIP_TOP + STRIP_BLOCK_HEIGHT // 2)):
    READ = READ.replace(name, str(value))


LISTEN = """async ([from, to]) => {
    const { player } = window, video = player.element;
    const seeked = new Promise((resolve) => video.addEventListener("seeked", resolve, { once: true }));
    player.seek(from);
    await seeked;
    window.context ??= new AudioContext({ sampleRate: RATE });
    await context.resume();
    window.source ??= context.createMediaElementSource(video);
    const tap = context.createScriptProcessor(BLOCK, 1, 1), blocks = [], pairs = [];
    tap.onaudioprocess = ({ inputBuffer, playbackTime }) => {
        const samples = inputBuffer.getChannelData(0);
        blocks.push([playbackTime, Array.from(samples, (sample) => Math.round(sample * 32767))]);
        if (!video.paused) pairs.push([context.currentTime, player.now()]);
    };
    source.connect(tap).connect(context.destination);
    video.muted = false;
    await video.play();
    while (player.now() < to) await new Promise((resolve) => setTimeout(resolve, 100));
    video.pause();
    source.disconnect();
    tap.onaudioprocess = null;
    return { blocks, pairs };
}"""
LISTEN = LISTEN.replace("RATE", str(clockwork.SOUND_RATE)).replace("BLOCK", str(BLOCK_SAMPLES))


class Viewer:
    """Reads the time off the picture of a player in a page."""

    def __init__(self, page, expected):
        self.page = page
        self.expected = expected

    async def open(self, address=None):
        await self.page.evaluate(OPEN, address)
        await until_async(
            lambda: self.page.evaluate("player.reach() > 1000 && player.element.readyState >= 2"), "a picture"
        )

    async def error(self, ms):
        """How many milliseconds late the picture of this moment of the media clock is."""
        now, row = await self.page.evaluate(READ, ms)
        shown = read_strip(np.tile(np.array(row, np.uint8), (HEIGHT, 1)))
        assert shown is not None, f"no time can be read at {ms} ms"
        # A take's sound may begin before its picture: players go on to where there is one.
        assert -1 <= now - ms <= 100, "the player has gone elsewhere"
        # A picture is shown for 40 ms; what is shown in its middle is on time.
        return round(now - self.expected.picture[shown] - clockwork.FRAME_MS / 2)

    async def errors(self, moments):
        return {ms: await self.error(ms) for ms in moments}

    async def play_across(self, border_ms):
        """The error where the player has come to after playing across a reconnect.

        Told to stay there, it shows the picture of this very moment, however busy the machine is.
        """
        await self.error(border_ms - 700)
        await self.page.evaluate("player.element.play()")
        await until_async(lambda: self.page.evaluate(f"player.now() > {border_ms + 700}"), "the next take")
        await self.page.evaluate("player.element.pause()")
        return await self.error(await self.page.evaluate("player.now()"))

    async def hear(self, border_ms):
        """When each burst of sound is heard, before a reconnect and after it; right before it, sound is torn."""
        heard = await self.page.evaluate(LISTEN, [border_ms - 2500, border_ms + 2000])
        pairs = np.array(heard["pairs"])
        found = []
        for began, samples in _stretches(heard["blocks"]):
            for number, after in clockwork.bursts_in(samples):
                at = began + after / 1000
                near = pairs[np.abs(pairs[:, 0] - at) < 0.3]
                if len(near):
                    now = float(np.median(near[:, 1] - 1000 * near[:, 0])) + 1000 * at
                    found.append((number, now))
        apart = [(number, now) for number, now in found if not -1000 < now - border_ms < 300]
        return dict(clockwork.counted(apart, self.expected.picture))


def _stretches(blocks):
    """Blocks that follow each other without a hole, joined; with the time of the first sample, in seconds."""
    parts, began, end = [], 0.0, 0.0
    for at, samples in blocks:
        if parts and abs(at - end) > 0.001:
            yield began, np.concatenate(parts)
            parts = []
        if not parts:
            began = at - LATENCY_SECONDS
        parts.append(np.array(samples) / 32767)
        end = at + len(samples) / clockwork.SOUND_RATE
    if parts:
        yield began, np.concatenate(parts)


async def takes_of(crashes):
    _, segments, takes = await crashes.state()
    return [to_ms(take.base_ticks) for take in takes], to_ms(segments[-1].end_ticks)


async def record(crashes, truth):
    """Three takes, two of them torn; the time stamps begin again in one of them."""
    await crashes.begin(truth.endless)
    await crashes.kill("ffmpeg", 6)
    await crashes.kill("both", 6)
    _, before, _ = await crashes.state()

    async def on_again():
        _, segments, takes = await crashes.state()
        return len(takes) >= 3 and len(segments) >= len(before) + 2

    await until_async(on_again, "the third take", seconds=60)


@live_video
async def test_pictures_are_on_the_media_clock_on_air_and_archived(site, chromium, tmp_path):
    starts_s = clockwork.WRAP_SECONDS - 12
    pieces = await asyncio.to_thread(clockwork.make_pieces, tmp_path / "clock", 110, starts_s=starts_s)
    async with broadcast(pieces, begin_at=1.0) as truth:
        crashes = Crashes(site.services, truth)
        try:
            await record(crashes, truth)
            stream, _, _ = await crashes.state()
            await site.show(stream.interview_id, Visibility.PUBLIC)
            url = f"{site.url}{(await site.interview(stream.interview_id)).address}"
            await watch_live(site, chromium, url, crashes)
            await crashes.finish()
        finally:
            await crashes.close()
        await crashes.check()
    assert (await finalise(site.services)).state is JobState.DONE
    await watch_archived(site, chromium, url, crashes)


def moments(end_ms, borders):
    """All over the recording, the newest first: a viewer rewinds, over every reconnect.

    What of a take's picture is longer than its sound, where it is torn, hls.js may cover with the next take.
    """
    near = [border + off for border in borders for off in (150, -600) if border]
    return sorted([*range(300, end_ms - 1500, 1900), *near], reverse=True)


async def watch_live(site, chromium, url, crashes):
    stream, _, _ = await crashes.state()
    borders, end_ms = await takes_of(crashes)
    expected = await clockwork.media_clock(site.services, stream.recording_id)
    async with opened(chromium, url) as page:
        playlist = await page.locator("#player").evaluate("player => player.dataset.playlist")
        viewer = Viewer(page, expected)
        await viewer.open(playlist)
        found = await viewer.errors(moments(end_ms, borders))
        found |= {f"over {border}": await viewer.play_across(border) for border in borders[1:]}
        late = await lateness_of_sound(viewer, borders)
    assert max(map(abs, found.values())) <= HLS_MS, found
    assert len(late) >= _LEAST_BURSTS
    assert late[-1 - len(borders[1:])] <= HLS_MS, late


async def lateness_of_sound(viewer, borders):
    """Of each burst around the reconnects, however early or late, in ms, the worst last.

    At each reconnect a burst may be torn and its number misread. A busy machine tears more of them, each time
    others: then it is listened to again. A clock that is wrong is so every time.
    """
    for _ in range(_LISTENINGS):
        heard = {}
        for border in borders[1:]:
            heard |= await viewer.hear(border)
        late = sorted(map(abs, clockwork.errors(heard, viewer.expected.sound)))
        if len(late) >= _LEAST_BURSTS and late[-1 - len(borders[1:])] <= HLS_MS:
            break
    return late


async def watch_archived(site, chromium, url, crashes):
    stream, _, _ = await crashes.state()
    borders, end_ms = await takes_of(crashes)
    expected = await clockwork.media_clock(site.services, stream.recording_id)
    async with opened(chromium, url) as page:
        viewer = Viewer(page, expected)
        await viewer.open()
        found = await viewer.errors(moments(end_ms, borders))
    # Where pictures are missing, the one before stays.
    assert max(map(abs, found.values())) <= FILE_MS, found
