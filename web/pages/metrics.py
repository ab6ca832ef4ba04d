"""What a monitoring system asks for, in the text format of Prometheus. All of it is read from the catalogue."""

from __future__ import annotations

from datetime import UTC, datetime

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest

from streamarchive.catalogue import captioning, recordings
from streamarchive.catalogue.captioning import Captioning
from streamarchive.models import Recording

from .. import auth
from ..keys import SERVICES


async def show(request: web.Request) -> web.StreamResponse:
    """For those who ask this process itself: what came through a proxy, or from afar, is not answered."""
    if not auth.asks_directly(request):
        raise web.HTTPNotFound
    async with request.app[SERVICES].database.read() as connection:
        on_air = await recordings.open_recordings(connection)
        captions = await captioning.on_air(connection)
    registry = CollectorRegistry()
    _recordings(registry, on_air)
    _captions(registry, captions)
    headers = {"Content-Type": CONTENT_TYPE_LATEST, "Cache-Control": "no-store"}
    return web.Response(body=generate_latest(registry), headers=headers)


def _recordings(registry: CollectorRegistry, on_air: list[Recording]) -> None:
    gauge = Gauge("streamarchive_recordings_on_air", "Recordings that are being made.", registry=registry)
    gauge.set(len(on_air))


def _captions(registry: CollectorRegistry, captions: list[Captioning]) -> None:
    """A series for each recording on air, under its number: an interview's id would be its address."""

    def gauge(name: str, what: str) -> Gauge:
        return Gauge(f"streamarchive_captions_{name}", what, ["recording"], registry=registry)

    lag = gauge("lag_seconds", "Sound that has come and has not been heard by the recogniser yet.")
    rung = gauge("rung", "What is left out to keep up: 0 nothing, 1 provisional text, 2 wide search, 3 sound.")
    skipped = gauge("skipped_seconds", "Sound left to the final pass, all in all.")
    failing = gauge("failing", "1 while there are no live captions for a reason that the page shows.")
    silent = gauge("reported_seconds_ago", "How long ago these values were written.")
    for one in captions:
        label = str(one.recording_id)
        lag.labels(label).set(one.lag_ms / 1000)
        rung.labels(label).set(one.rung)
        skipped.labels(label).set(one.skipped_ms / 1000)
        failing.labels(label).set(one.problem is not None)
        silent.labels(label).set(round((datetime.now(UTC) - one.seen_at).total_seconds(), 1))
