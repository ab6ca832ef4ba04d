"""An interview as its page needs it: read in one transaction, made ready to be shown or sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive import jobs
from streamarchive.catalogue import (
    assets,
    captioning,
    changes,
    media_segments,
    recordings,
    streams,
    tracks,
    transcripts,
    withheld,
)
from streamarchive.catalogue.captioning import Captioning, Skip
from streamarchive.models import (
    Asset,
    AssetKind,
    Cue,
    Gap,
    Interview,
    Job,
    JobState,
    Recording,
    Stage,
    Stream,
    Stretch,
)

from .access import Visit
from .languages import Language
from .views import Line, gap_line, hole_line, skip_line, unsure
from .wording import duration, html_lang

_PLAYABLE = {
    "audio/mp4",
    "audio/mpeg",
    "audio/ogg",
    "audio/wav",
    "audio/webm",
    "audio/flac",
    "video/mp4",
    "video/webm",
}
"""What an uploaded file may be to be played as it is, until its own file has been made."""


_SILENT = timedelta(seconds=90)
"""Whoever makes the captions has said nothing for so long: nobody does. One window may take a minute."""

_LEAVES_OUT = 3
"""The rung of `streamarchive.transcription.pace` on which sound is left out."""


@dataclass(frozen=True, slots=True)
class State:
    """All that is known of an interview but its lines. `change_id` is where its events go on."""

    interview: Interview
    recording: Recording | None
    assets: Mapping[AssetKind, Asset]
    jobs: tuple[Job, ...]
    stream: Stream | None
    runs: tuple[transcripts.Run, ...]
    change_id: int
    captioning: Captioning | None = None
    tracks: tuple[str, ...] = ()
    """The languages that its text has been translated into."""
    has_segments: bool = False
    """Whether it can be played from media segments."""

    @property
    def base(self) -> str:
        """Where the side routes of the interview begin."""
        return f"/interviews/{self.interview.id}"


@dataclass(frozen=True, slots=True)
class SeekBar:
    """What stands along the seek bar of a file: addresses, empty where there is nothing."""

    thumbnails: str = ""
    peaks: str = ""


@dataclass(frozen=True, slots=True)
class Player:
    """What the page plays: ``file`` (ranges), ``hls``, or ``none``."""

    kind: str
    url: str = ""
    audio_only: bool = False


async def load_state(connection: AsyncConnection, interview: Interview) -> State:
    """Read the rest of it."""
    change_id = await changes.newest_id(connection)
    attached = await streams.of_interview(connection, interview.id)
    recording_id = interview.recording_id
    if recording_id is None:
        return State(interview, None, {}, (), attached[0] if attached else None, (), change_id)
    return State(
        interview=interview,
        recording=await recordings.get(connection, recording_id),
        assets=withheld.given(interview, await assets.of_recording(connection, recording_id)),
        jobs=tuple(await jobs.of_recording(connection, recording_id)),
        stream=attached[0] if attached else None,
        runs=tuple(await transcripts.runs(connection, recording_id)),
        change_id=change_id,
        captioning=await captioning.of_recording(connection, recording_id),
        tracks=tuple(await tracks.of_recording(connection, recording_id)),
        has_segments=await media_segments.has_any(connection, recording_id),
    )


async def load_lines(
    connection: AsyncConnection,
    interview: Interview,
    track: str = tracks.SPOKEN,
    *,
    words: bool,
    withheld_too: bool = False,
) -> tuple[list[Cue], list[Gap]]:
    """Its cues, with their `words` or without, and gaps, as anybody gets them.

    Editors also see what is withheld, between in and out point.
    """
    if interview.recording_id is None:
        return [], []
    shows = interview.cuts_in if withheld_too else interview.shows
    cues = await tracks.lines(connection, interview.recording_id, track, words=words)
    return [cue for cue in cues if shows(cue.start_ms, cue.end_ms)], await load_gaps(connection, interview)


async def load_holes(connection: AsyncConnection, interview: Interview) -> list[Stretch]:
    """What nobody gets between its in and out point, withheld or gone for good."""
    if interview.recording_id is None:
        return []
    found = await withheld.of_recording(connection, interview.recording_id)
    holes = withheld.merged([one.stretch for one in found if one.is_hole])
    return [hole for hole in holes if interview.cuts_in(hole.start_ms, hole.end_ms)]


def track_of(request: web.Request, state: State) -> str:
    """The translation that a request asks for; as spoken where there is none."""
    wanted = request.query.get("track", tracks.SPOKEN)
    return wanted if wanted in state.tracks else tracks.SPOKEN


async def load_gaps(connection: AsyncConnection, interview: Interview) -> list[Gap]:
    """What is missing between its in and out point."""
    if interview.recording_id is None:
        return []
    begin, end = _cut(interview)
    return [gap for gap in await recordings.gaps(connection, interview.recording_id) if begin < gap.at_ms < end]


async def load_skips(connection: AsyncConnection, interview: Interview) -> list[Skip]:
    """What its live captions have left out, between its in and out point."""
    if interview.recording_id is None:
        return []
    begin, end = _cut(interview)
    found = await captioning.skips(connection, interview.recording_id)
    return [skip for skip in found if skip.end_ms > begin and skip.start_ms < end]


def _cut(interview: Interview) -> tuple[int, int]:
    return interview.in_ms or 0, interview.out_ms if interview.out_ms is not None else 1 << 62


def player(state: State) -> Player:
    """The best there is to play: the finished file, else the upload as it came, else the segments."""
    if state.recording is None:
        return Player("none")
    if state.interview.stage is not Stage.LIVE:
        for kind, name in ((AssetKind.MP4, "media.mp4"), (AssetKind.M4A, "media.m4a")):
            if (asset := state.assets.get(kind)) and _is_best(state, asset, state.recording.duration_ms):
                return _file(state, asset, name)
        original = state.assets.get(AssetKind.ORIGINAL)
        if original and original.media_type in _PLAYABLE:
            return _file(state, original, "original")
    if state.has_segments and state.recording.duration_ms:
        return Player("hls", f"{state.base}/playlist.m3u8", audio_only=not state.recording.has_video)
    return Player("none")


def _is_best(state: State, asset: Asset, duration_ms: int) -> bool:
    """A file that lacks what may be shown again gives way to the segments until it has been made anew."""
    return not state.has_segments or withheld.is_whole(state.interview, asset, duration_ms)


def _file(state: State, asset: Asset, name: str) -> Player:
    audio_only = asset.kind is AssetKind.M4A or asset.media_type.startswith("audio/")
    return Player("file", f"{state.base}/{name}?v={short_tag(asset.key)}", audio_only=audio_only)


def seek_bar(state: State) -> SeekBar:
    """Thumbnails and peaks of the file that is played."""
    if player(state).kind != "file":
        return SeekBar()
    strip, peaks = state.assets.get(AssetKind.THUMBNAILS), state.assets.get(AssetKind.PEAKS)
    return SeekBar(
        thumbnails=f"{state.base}/thumbnails.vtt?v={short_tag(strip.key)}" if strip else "",
        peaks=f"{state.base}/peaks.dat?v={short_tag(peaks.key)}" if peaks else "",
    )


def has_picture(interview: Interview, recording: Recording | None, assets: Iterable[AssetKind]) -> bool:
    """Whether there is a poster: one of the file, or while on air what it shows just now."""
    if interview.stage is Stage.LIVE:
        return recording is not None and recording.has_video and recording.duration_ms > 0
    return AssetKind.POSTER in set(assets)


def short_tag(key: str) -> str:
    """A few characters that change with the content: the end of a key is its hash."""
    return key.rsplit("/", 1)[-1].split(".")[0][-16:]


def model_note(state: State) -> str:
    """What readers must know of the model that wrote the lines; empty for ordinary ones."""
    return next((run.note for run in state.runs if run.note), "")


@dataclass(frozen=True, slots=True)
class Work:
    """What is being done to the recording."""

    kind: str
    label: str
    progress: float
    note: str


def work(state: State, language: Language) -> list[Work]:
    """Jobs that wait or run."""
    return [
        Work(job.kind, job_label(job, language), job.progress, job_note(job, language))
        for job in state.jobs
        if job.state in (JobState.QUEUED, JobState.RUNNING)
    ]


def problems(state: State, visit: Visit) -> list[str]:
    """What went wrong and still does, each in a sentence or two.

    Why a stream fails is for those who are signed in: the reason names its address, which may hold a key.
    """
    language = visit.language
    _ = language.gettext
    found = []
    if state.stream and state.stream.last_error and state.interview.stage in (Stage.LIVE, Stage.SCHEDULED):
        if visit.asker.user is not None:
            found.append(_("The stream does not come through: %(reason)s") % {"reason": state.stream.last_error})
        else:
            found.append(_("The stream does not come through at the moment. It is tried again and again."))
    for job in state.jobs:
        if job.last_error and job.state is JobState.PARKED:
            found.append(_problem(_("%(work)s has stopped: %(reason)s"), job, language))
        elif job.last_error and job.state in (JobState.QUEUED, JobState.RUNNING):
            found.append(_problem(_("%(work)s failed and is tried again: %(reason)s"), job, language))
    if state.recording and state.recording.damage:
        found.append(_("The file is damaged: %(reason)s") % {"reason": state.recording.damage})
    return found


def captions(state: State, visit: Visit) -> str:
    """Why there are no captions on air, or how late they are; empty where there is nothing to say.

    The reason is for those who are signed in: it may name a file.
    """
    fares = state.captioning
    if fares is None or state.interview.stage is not Stage.LIVE:
        return ""
    _ = visit.language.gettext
    if fares.problem and visit.asker.user is not None:
        return _("There are no live captions: %(reason)s") % {"reason": fares.problem}
    if fares.problem or datetime.now(UTC) - fares.seen_at > _SILENT:
        return _("There are no live captions at the moment. The transcript follows after the broadcast.")
    if not fares.notable_lag_ms:
        return ""
    late = _("The captions are %(time)s behind.") % {"time": duration(fares.notable_lag_ms, _)}
    if fares.rung < _LEAVES_OUT:
        return late
    return f"{late} " + _("What is left out follows after the broadcast.")


def _problem(sentence: str, job: Job, language: Language) -> str:
    return sentence % {"work": job_label(job, language), "reason": job.last_error}


def job_label(job: Job, language: Language) -> str:
    """What kind of work it is."""
    _ = language.gettext
    labels = {
        "ingest": _("Checking the file"),
        "transcribe": _("Transcription"),
        "translate": _("Translation into English"),
        "live": _("Live transcription"),
        "live_transcribe": _("Live transcription"),
        "finalise": _("Making the recording"),
        "release_segments": _("Tidying up"),
        "purge": _("Deleting a part for good"),
    }
    return labels.get(job.kind, job.kind)


def job_note(job: Job, language: Language) -> str:
    """What it is doing just now."""
    _ = language.gettext
    notes = {
        "looking at the file": _("looking at the file"),
        "putting the takes together": _("putting the takes together"),
        "writing the file": _("writing the file"),
        "making the file that is played": _("making the file that is played"),
        "looking whether it is whole": _("looking whether it is whole"),
        "deleting segments": _("deleting what the file has replaced"),
    }
    return notes.get(job.message, job.message)


# --- as JSON for the page's scripts -------------------------------------------------------------------------


def state_json(state: State, visit: Visit) -> dict[str, Any]:
    """What an open page must know to follow the interview from stage to stage."""
    shown, bar = player(state), seek_bar(state)
    has_poster = has_picture(state.interview, state.recording, state.assets)
    return {
        "stage": state.interview.stage,
        "player": {"kind": shown.kind, "url": shown.url, "audio_only": shown.audio_only},
        "seek": {"thumbnails": bar.thumbnails, "peaks": bar.peaks},
        "poster": f"{state.base}/poster.jpg" if has_poster else None,
        "duration_ms": state.recording.duration_ms if state.recording else 0,
        "problems": problems(state, visit),
        "work": [
            {"kind": w.kind, "label": w.label, "progress": round(w.progress, 3), "note": w.note}
            for w in work(state, visit.language)
        ],
        "note": model_note(state),
        "captions": captions(state, visit),
    }


def cue_json(cue: Cue, *, withheld: bool = False) -> dict[str, Any]:
    """A line for the page's scripts; `revision` is what an edit has to name."""
    return {
        "key": f"c{cue.id}",
        "start_ms": cue.start_ms,
        "end_ms": cue.end_ms,
        "text": cue.text,
        "lang": html_lang(cue.lang),
        "speaker": cue.speaker,
        "doubt": cue.doubt,
        "revision": cue.revision,
        "read": cue.read,
        "unsure": unsure(cue),
        "withheld": withheld,
    }


def cues_json(cues: Iterable[Cue], interview: Interview) -> list[dict[str, Any]]:
    """The same for several, those that are withheld marked."""
    return [cue_json(cue, withheld=interview.withholds(cue.start_ms, cue.end_ms)) for cue in cues]


def hole_json(hole: Stretch, visit: Visit) -> dict[str, Any]:
    """What nobody gets, for the page's scripts, worded for its reader."""
    line: Line = hole_line(hole, "", visit.language.gettext)
    return {"key": line.key, "start_ms": line.start_ms, "end_ms": line.end_ms, "text": line.text, "gap": True}


def skip_json(skip: Skip) -> dict[str, Any]:
    """What captions have left out, for the page's scripts."""
    line: Line = skip_line(skip, "")
    return {"key": line.key, "start_ms": line.start_ms, "end_ms": line.end_ms, "gap": True, "skipped": True}


def gap_json(gap: Gap, visit: Visit) -> dict[str, Any]:
    """A gap for the page's scripts, worded for its reader."""
    line: Line = gap_line(gap, "", visit.language.gettext)
    return {"key": line.key, "start_ms": line.start_ms, "text": line.text, "gap": True}
