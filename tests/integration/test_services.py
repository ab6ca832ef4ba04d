from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psycopg
from playwright.async_api import Browser


def test_postgresql_gives_every_test_a_database_of_its_own(postgresql_databases: Callable[..., str]) -> None:
    template = postgresql_databases()
    with psycopg.connect(template) as connection:
        connection.execute("CREATE TABLE sign (n int)")
    copies = [postgresql_databases(template) for _ in range(2)]
    for url in copies:
        with psycopg.connect(url) as connection:
            connection.execute("INSERT INTO sign VALUES (1)")
            assert connection.execute("SELECT count(*) FROM sign").fetchone() == (1,)


def test_elasticsearch_stores_and_finds(elasticsearch_url: str) -> None:
    def call(method: str, path: str, body: object) -> dict[str, object]:
        request = urllib.request.Request(
            elasticsearch_url + path,
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request) as answer:
            return dict(json.load(answer))

    call("PUT", "/services-test/_doc/1?refresh=true", {"text": "smart cockpit"})
    found = call("POST", "/services-test/_search", {"query": {"match_phrase": {"text": "smart cockpit"}}})
    assert found["hits"]["total"]["value"] == 1  # type: ignore[index]


async def test_chromium_runs_scripts(chromium: Browser) -> None:
    page = await chromium.new_page()
    assert await page.evaluate("1 + 1") == 2
    assert await page.evaluate("MediaSource.isTypeSupported('video/mp4; codecs=\"avc1.64001f\"')")


def test_ffmpeg_encodes_h264(ffmpeg: Path) -> None:
    answer = subprocess.run([ffmpeg, "-hide_banner", "-encoders"], capture_output=True, text=True, check=True)
    assert "libx264" in answer.stdout
