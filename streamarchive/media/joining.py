"""ffmpeg command lines that make the file that is played, of the takes of a broadcast or of an upload.

They are built as those of `streamarchive.media.commands` are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ffmpeg

from streamarchive.clock import to_seconds
from streamarchive.media.codecs import PLAYABLE_AUDIO, PLAYABLE_VIDEO, Tracks
from streamarchive.media.commands import DECODERS, arguments, file_input, file_url, quoted
from streamarchive.models import Stretch

_SOUND_ID = 0x101
"""Of the second track of an MPEG-TS that ffmpeg writes, which in recordings with a picture is the sound."""


@dataclass(frozen=True, slots=True)
class Part:
    """A file of one take and how long it lasts on the media clock."""

    file: Path
    duration_ticks: int


@dataclass(frozen=True, slots=True)
class Reel:
    """Parts that follow each other; the first begins at `begins_ticks` of the media clock."""

    parts: tuple[Part, ...]
    begins_ticks: int = 0


def concat_script(reel: Reel, *, sound_alone: bool = False) -> str:
    """The concat demuxer's script: one file a take with an explicit duration, so that no error adds up.

    It puts the first track of one file behind the first of the next; `sound_alone` goes by their ids.
    """
    lines = ["ffconcat version 1.0"]
    if sound_alone:
        lines += ["stream", f"exact_stream_id {_SOUND_ID:#x}"]
    for part in reel.parts:
        lines += [f"file {quoted(file_url(part.file))}", f"duration {to_seconds(part.duration_ticks)}"]
    return "\n".join(lines) + "\n"


def as_second_track(take: Path, target: Path) -> list[str]:
    """Give the sound of a take that has no picture the id that it has in those that do, at the same times."""
    options = {"c": "copy", "streamid": f"0:{_SOUND_ID}", "muxdelay": 0, "muxpreload": 0, "f": "mpegts"}
    return ["-y", "-copyts", *arguments(ffmpeg.output(file_input(take)["a:0"], file_url(target), **options))]


def silence(take: Path, like: Path, target: Path, *, duration_ticks: int) -> list[str]:
    """Give a take without sound a silent track, of the rate and the channels that the sound of `like` has."""
    picture, sound = file_input(take)["V:0"], file_input(like, stream_loop=-1)["a:0"]
    options = {"c:v": "copy", "c:a": "aac", "b:a": "32k", "af": "volume=0", "f": "mpegts"}
    output = ffmpeg.output(picture, sound, file_url(target), t=to_seconds(duration_ticks), **options)
    return ["-y", *arguments(output)]


def join(
    scripts: Mapping[Path, int], target: Path, tracks: Tracks, left_out: Sequence[Stretch] = ()
) -> list[str]:
    """Join the takes of a script into a fast-start MP4 (without picture: M4A), copying what browsers play.

    With each script comes when it begins, in ticks; if there are two, the second gives the sound. What is left
    out keeps its place: the picture before it stands still, and there is no sound.
    """
    sources = [_script_input(script, begins_ticks) for script, begins_ticks in scripts.items()]
    picture, sound = Tracks(tracks.video, None), Tracks(None, tracks.audio)
    streams = [*_tracks_of(sources[0], picture), *_tracks_of(sources[-1], sound)]
    return _playable(streams, target, tracks, left_out)


def _script_input(script: Path, begins_ticks: int) -> Any:  # noqa: ANN401
    later = {"itsoffset": to_seconds(begins_ticks)} if begins_ticks else {}
    return ffmpeg.input(
        file_url(script),
        **later,
        f="concat",
        safe=0,
        protocol_whitelist="file",
        format_whitelist="concat,mpegts",
        codec_whitelist=DECODERS,
    )


def make_playable(source: Path, target: Path, tracks: Tracks) -> list[str]:
    """Turn any accepted file into a fast-start MP4 (M4A); what browsers cannot play is encoded anew."""
    return _playable(_tracks_of(file_input(source), tracks), target, tracks, ())


def in_milliseconds(source: Path, target: Path, tracks: Tracks) -> list[str]:
    """Copy any accepted file into Matroska, whose times are milliseconds."""
    streams = _tracks_of(file_input(source), tracks)
    return [
        "-y",
        *arguments(
            ffmpeg.output(*streams, file_url(target), c="copy", f="matroska", avoid_negative_ts="disabled")
        ),
    ]


def make_playable_without(source: Path, target: Path, tracks: Tracks, left_out: Sequence[Stretch]) -> list[str]:
    """The same of what `in_milliseconds` has made: the filter that leaves packets out counts in the file's units.

    ffmpeg 5.1 gives it times in the units of the file to be written, and says that they are those of the source.
    """
    # Sound that begins a frame before the picture would move the picture.
    streams = _tracks_of(file_input(source), tracks)
    return ["-copyts", *_playable(streams, target, tracks, left_out, video_track_timescale=1000)]


def _playable(
    streams: Sequence[Any],
    target: Path,
    tracks: Tracks,
    left_out: Sequence[Stretch],
    **more: int,
) -> list[str]:
    options: dict[str, Any] = {
        "f": "mp4" if tracks.video else "ipod",
        "movflags": "+faststart",
        "map_metadata": -1,
        "map_chapters": -1,
        "progress": "pipe:1",
    }
    options |= _video_options(tracks.video, left_out) | _audio_options(tracks.audio, left_out)
    return ["-y", *arguments(ffmpeg.output(*streams, file_url(target), **options, **more))]


def _tracks_of(source: Any, tracks: Tracks) -> list[Any]:  # noqa: ANN401
    return [source[selector] for selector, codec in (("V:0", tracks.video), ("a:0", tracks.audio)) if codec]


def _video_options(codec: str | None, left_out: Sequence[Stretch]) -> dict[str, Any]:
    if codec is None:
        return {}
    if codec in PLAYABLE_VIDEO:
        # Safari plays HEVC under this tag only.
        tag = {"tag:v": "hvc1"} if codec == "hevc" else {}
        holes = {"bsf:v": ",".join(map(_without_packets, left_out))} if left_out else {}
        return {"c:v": "copy"} | tag | holes
    # H.264 in 4:2:0 has even sides; some sources have not.
    even = "scale=trunc(iw/2)*2:trunc(ih/2)*2"
    kept = [f"select='not({_between(stretch)})'" for stretch in left_out]
    filters = ",".join([*kept, even])
    return {"c:v": "libx264", "preset": "veryfast", "crf": 21, "pix_fmt": "yuv420p", "g": 100, "vf": filters}


def _between(stretch: Stretch) -> str:
    """Whether a frame has any part in this, with a tenth of a second to spare: so long it may last."""
    return f"between(t,{(stretch.start_ms - 100) / 1000:.3f},{(stretch.end_ms + 100) / 1000:.3f})"


def _without_packets(stretch: Stretch) -> str:
    """A filter of packets that are copied: without those of a stretch, and then up to where decoding can begin.

    The registers: 0 is 0 before the stretch, 1 in it and 2 behind it, 1 the time of the key frame that ended it.
    A picture that is shown before that key frame and comes after it refers to what was left out.
    """
    start, end = (f"{ms / 1000:.3f}" for ms in (stretch.start_ms, stretch.end_ms))
    enters = f"if(eq(ld(0),0)*gte(pts*tb,{start}),st(0,1))"
    leaves = f"if(eq(ld(0),1)*key*gte(pts*tb,{end}),st(0,2)+st(1,pts))"
    drops = "eq(ld(0),1)+eq(ld(0),2)*lt(pts,ld(1))"
    return f"noise=drop='{enters};{leaves};{drops}'"


def _audio_options(codec: str | None, left_out: Sequence[Stretch]) -> dict[str, Any]:
    if codec is None:
        return {}
    if left_out:
        # Encoded anew: players stumble over a sound that pauses, and two encoders' frames do not mix.
        muted = [f"volume=volume=0:enable='{_between(stretch)}'" for stretch in left_out]
        filters = ",".join(["aresample=async=1:first_pts=0", "asetnsamples=n=1024:p=0", *muted])
        return {"c:a": "aac", "b:a": "160k", "af": filters}
    return {"c:a": "copy"} if codec in PLAYABLE_AUDIO else {"c:a": "aac", "b:a": "160k"}
