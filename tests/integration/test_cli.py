"""The command line as a user types it, on an archive with no server running."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from pathlib import Path

import pytest

from streamarchive.captions import from_vtt
from streamarchive.demo.voices import UNHEARD, save_wave
from tests.archive import MODEL, Archive
from tests.services import free_port
from tests.voices import speeches

SENTENCES = (
    "I prefer the windows because it is really fast.",
    "It took five minutes to design the radio.",
    "Our team in London has six engineers.",
)


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "archive")


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three sentences in a voice that the recogniser has never heard."""
    file = tmp_path_factory.mktemp("speech") / "three sentences.wav"
    save_wave(file, speeches([(UNHEARD["en"][0], sentence) for sentence in SENTENCES]))
    return file


async def test_a_file_is_imported_found_and_exported_without_a_server(archive: Archive, speech: Path):
    imported = await archive.do("import", speech, "--title", "Three", "--language", "en", "--wait", "--json")
    said = imported.json()
    assert set(said) == {"interview", "url"}
    assert said["interview"] in said["url"]

    found = (await archive.do("search", "--json", "six engineers")).json()
    assert found["total"] == 1
    (hit,) = found["hits"]
    assert hit["title"] == "Three"
    assert hit["interview"].startswith(f"{said['interview']}-")
    assert "six engineers" in hit["text"]
    assert f"?t={hit['start_ms'] / 1000:g}" in hit["url"]

    text = (await archive.do("export", said["interview"], "--format", "vtt")).out
    assert text.startswith("WEBVTT")
    assert "six engineers" in text
    sound = archive.folder.parent / "out.m4a"
    await archive.do("export", said["interview"], "--format", "m4a", "-o", sound)
    assert sound.read_bytes()[4:8] == b"ftyp"
    transcript = (await archive.do("export", said["interview"], "--format", "json")).json()
    assert set(transcript) == {"language", "duration_ms", "cues"}
    assert await asyncio.to_thread(speech.is_file), "the user's own file stays where it is"


async def test_captions_are_taken_from_a_file_without_a_recogniser(tmp_path: Path, speech: Path):
    captions = tmp_path / "text.vtt"
    captions.write_text("WEBVTT\n\n00:00.500 --> 00:03.000\n智能座舱 & the smart cockpit\n", encoding="utf-8")
    archive = Archive(tmp_path / "archive", {"MODEL": "/nowhere/model.pt"})
    await archive.do(
        "import", speech, "--title", "T", "--language", "en", "--captions", captions, "--wait", "--json"
    )
    for query in ("座舱", '"the smart cockpit"'):
        found = (await archive.do("search", "--json", query)).json()
        assert [hit["start_ms"] for hit in found["hits"]] == [500]


async def test_searching_says_what_the_pages_say(tmp_path: Path, speech: Path):
    captions = tmp_path / "text.vtt"
    captions.write_text("WEBVTT\n\n00:00.500 --> 00:03.000\n我们的智能座舱\n", encoding="utf-8")
    archive = Archive(tmp_path / "archive", {"MODEL": "/nowhere/model.pt"})
    details = ("--title", "T", "--guest", "张伟", "--event", "Auto Beijing", "--date", "2026-04-25T10:00+08:00")
    await archive.do("import", speech, *details, "--language", "zh", "--captions", captions, "--wait")
    for filters, total in (
        ("event:beijing year:2026", 1),
        ("before:2026", 0),
        ("lang:zh -电池", 1),
        ("lang:en", 0),
    ):
        found = await archive.do("search", "--json", f"智能座艙 {filters}")
        assert found.json()["total"] == total, filters
    sounding = await archive.do("search", "zhangwei", "year:soon")
    assert "Not understood, so left out: year:soon" in sounding.err
    assert "These sound like it: 张伟" in sounding.err
    assert "/interviews/" in sounding.out
    fallback = (await archive.do("search", "--json", "zhangwei")).json()["fallback"]
    assert fallback == {"kind": "pinyin", "query": "张伟"}
    nothing = await archive.run("search", "event:beijing")
    assert (nothing.status, nothing.out) == (2, "")
    assert "say a word to look for" in nothing.err
    away = Archive(archive.folder, {"SEARCH": f"http://127.0.0.1:{free_port()}/archive"})
    titles = await away.do("search", "张伟")
    assert "only titles, guests and events were looked at" in titles.err
    assert "/interviews/" in titles.out


async def test_a_folder_is_imported_with_the_captions_beside_its_files(tmp_path: Path, speech: Path):
    folder = tmp_path / "talks"
    folder.mkdir()
    for name in ("first.wav", "second.wav"):
        (folder / name).write_bytes(speech.read_bytes())
        cue = f"WEBVTT\n\n00:00.500 --> 00:03.000\nThis is the {name[:-4]} talk.\n"
        (folder / name).with_suffix(".vtt").write_text(cue, encoding="utf-8")
    (folder / "third.mp4").write_bytes(b"This is not a film.\n" * 50)
    (folder / "third.vtt").write_text("WEBVTT\n\n00:00.500 --> 00:03.000\nNever heard.\n", encoding="utf-8")
    archive = Archive(tmp_path / "archive", {"MODEL": "/nowhere/model.pt"})
    outcome = await archive.run("import", folder, "--language", "en", "--wait")
    assert outcome.status == 1
    assert "third.mp4" in outcome.err
    found = (await archive.do("search", "--json", "talk")).json()
    assert sorted(hit["title"] for hit in found["hits"]) == ["first", "second"]
    assert (await archive.do("search", "--json", "heard")).json()["total"] == 0


async def test_a_file_becomes_captions_without_any_archive(archive: Archive, speech: Path):
    printed = (await archive.do("transcribe", speech, "--json", "--language", "en")).json()
    assert set(printed) == {"language", "duration_ms", "cues"}
    assert printed["language"] == "en"
    for cue in printed["cues"]:
        assert {"start_ms", "end_ms", "text", "lang", "words"} <= set(cue)
        assert cue["words"], "every cue has words"
        for word in cue["words"]:
            assert set(word) == {"text", "start_ms", "end_ms", "probability"}
            assert cue["start_ms"] <= word["start_ms"] <= word["end_ms"] <= cue["end_ms"]
    assert not archive.folder.exists()
    srt = (await archive.do("transcribe", speech, "--format", "srt")).out
    assert srt.startswith("1\n00:00:0")


async def test_several_files_become_captions_in_a_folder(archive: Archive, speech: Path, tmp_path: Path):
    """On the other engine; one file that is none does not keep the others from being written."""
    bad, folder = tmp_path / "bad.mp4", tmp_path / "captions"
    bad.write_bytes(b"no media at all")
    how = ("--engine", "faster", "--model", MODEL, "--words", "--language", "en")
    outcome = await archive.run("transcribe", bad, speech, *how, "-o", folder)
    assert outcome.status == 1
    assert "bad.mp4" in outcome.err
    (written,) = folder.iterdir()
    assert written.name == f"{speech.stem}.vtt"
    captions = from_vtt(written.read_text(encoding="utf-8"))
    assert len(captions) > 5
    assert all(" " not in caption.text for caption in captions)
    missing = await archive.run("transcribe", bad, speech)
    assert (missing.status, missing.out) == (2, "")
    assert "need a folder: name one with -o" in missing.err


async def test_the_doctor_says_whether_the_models_keep_up(archive: Archive):
    found = (await archive.run("doctor", "--speed", "--json")).json()
    said = {finding["subject"]: finding["sentence"] for finding in found}
    live = r"whisper-demo (keeps up live: it hears|does not keep up live: it takes) .*\d\.\d s.*"
    assert re.fullmatch(live, said["live captions"])
    assert "has kept, given back and deleted a small file" in said["media"]
    assert re.fullmatch(r"an hour of speech takes whisper-demo about \d+ min", said["final pass"])


async def test_the_index_can_be_deleted_and_built_anew(archive: Archive, speech: Path):
    await archive.do("import", speech, "--title", "T", "--language", "en", "--wait")
    for file in archive.folder.glob("search.sqlite*"):
        file.unlink()
    assert (await archive.do("search", "--json", "engineers")).json()["total"] == 0
    assert (await archive.do("reindex")).out.startswith(
        "The search index has been replaced; 4 documents were written."
    )
    assert (await archive.do("search", "--json", "engineers")).json()["total"] == 1


def _rows(archive: Archive, table: str) -> int:
    path = archive.folder / "catalogue.sqlite"
    if not path.exists():
        return 0
    connection = sqlite3.connect(path)
    try:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
    finally:
        connection.close()


async def _complains(archive: Archive, *arguments: str | Path, status: int = 1, about: str = "") -> None:
    """One line on stderr, the right exit status, and nothing half-made in the archive."""
    outcome = await archive.run(*arguments)
    assert outcome.status == status, outcome
    assert outcome.out == ""
    lines = outcome.err.strip().splitlines()
    assert len(lines) == 1, outcome.err
    assert lines[0].startswith("streamarchive: ")
    assert about in lines[0], lines[0]
    for table in ("interview", "recording", "stream", "job"):
        assert _rows(archive, table) == 0
    media = [file for file in archive.folder.rglob("*") if file.is_file() and ".sqlite" not in file.name]
    assert media == []


@pytest.mark.parametrize(
    ("name", "content", "about"),
    [
        ("text.mp4", b"This is not a film.\n" * 50, "text.mp4"),
        ("empty.mp4", b"", "empty"),
        ("list.mp4", b"#EXTM3U\n#EXTINF:4,\n/etc/passwd\n", "playlist"),
    ],
)
async def test_what_is_no_media_is_refused(
    archive: Archive, tmp_path: Path, name: str, content: bytes, about: str
):
    file = tmp_path / name
    file.write_bytes(content)
    await _complains(archive, "import", file, "--title", "T", "--language", "en", "--wait", about=about)
    await _complains(archive, "transcribe", file, about=about)


async def test_a_missing_file_is_named(archive: Archive):
    await _complains(archive, "import", "nowhere.mp4", about="nowhere.mp4")
    await _complains(archive, "transcribe", "nowhere.mp4", about="nowhere.mp4")


async def test_an_address_that_refuses_leaves_no_interview(archive: Archive):
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    url = f"http://127.0.0.1:{port}/live.m3u8"
    await _complains(
        archive, "record", url, "--title", "T", "--for", "5", "--wait", "--json", about=f"127.0.0.1, port {port}"
    )


async def test_a_model_that_does_not_exist_is_named(tmp_path: Path, speech: Path):
    archive = Archive(tmp_path / "archive", {"MODEL": "/nowhere/model.pt"})
    await _complains(archive, "import", speech, "--wait", about="/nowhere/model.pt")
    await _complains(archive, "transcribe", speech, about="/nowhere/model.pt")


@pytest.mark.parametrize(
    ("settings", "about"),
    [
        ({"COLOUR": "blue"}, "colour"),
        ({"DATABASE": "mysql://host/db"}, "mysql"),
        ({"SEARCH": "gopher://host"}, "gopher"),
        ({"MEDIA": "gopher://host"}, "gopher"),
        ({"MEDIA": "s3://key:secret@bucket/prefix"}, "AWS_ACCESS_KEY_ID"),
        ({"PORT": "http"}, "port"),
    ],
)
async def test_settings_that_make_no_sense_are_named(tmp_path: Path, speech: Path, settings: dict, about: str):
    archive = Archive(tmp_path / "archive", settings)
    await _complains(archive, "import", speech, "--title", "T", about=about)


async def test_a_catalogue_of_a_newer_version_is_left_alone(archive: Archive, speech: Path):
    await archive.do("migrate")
    path = archive.folder / "catalogue.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    await _complains(archive, "import", speech, about="newer")


@pytest.mark.parametrize(
    "arguments", [[], ["fly"], ["import"], ["search"], ["record", "--for", "-3", "http://x"]]
)
async def test_a_command_that_makes_no_sense_is_a_usage_error(archive: Archive, arguments: list[str]):
    await _complains(archive, *arguments, status=2)


async def test_the_glossary_goes_out_as_csv_and_comes_in_whole_or_not_at_all(archive: Archive):
    terms = archive.folder.parent / "terms.csv"
    terms.write_text("term,language,name,en\n智能座舱,zh,,smart cockpit\nNIO,en,perhaps,\n", encoding="utf-8")
    refused = await archive.run("glossary", "import", terms)
    assert refused.status == 2
    assert "line 3: “perhaps” is neither yes nor no" in refused.err
    assert (await archive.do("glossary", "export")).out.splitlines() == ["term,language,name,en,zh"]

    terms.write_text("term,language,name,en\n智能座舱,zh,,smart cockpit\nNIO,en,yes,\n", encoding="utf-8")
    tried = await archive.do("glossary", "import", terms, "--dry-run", "--json")
    assert tried.json() == {"added": 2, "changed": 0, "same": 0}
    assert (await archive.do("glossary", "import", terms, "--json")).json() == tried.json()
    out = archive.folder.parent / "out.csv"
    await archive.do("glossary", "export", "-o", out)
    assert out.read_text(encoding="utf-8-sig").splitlines()[1:] == ["NIO,en,yes,,", "智能座舱,zh,,smart cockpit,"]
    again = await archive.do("glossary", "import", out)
    assert again.out == "0 terms are new, 0 corrected, 2 as they were.\n"
    assert '"term": "NIO"' in (await archive.do("audit")).out
