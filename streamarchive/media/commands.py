"""ffmpeg command lines, built as ffmpeg-python graphs and compiled to argument lists.

Every function returns the arguments after the program's name; `streamarchive.media.process` and
`streamarchive.media.sandbox` put the program and its wrappers in front. Paths are given as ``file:`` URLs, so
that no file name can pass for another protocol.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import ffmpeg

from streamarchive.clock import to_seconds
from streamarchive.errors import MediaError
from streamarchive.media.thumbnails import Strip
from streamarchive.models import Stretch

SEGMENT_SECONDS = 4
"""Wanted length of a media segment; a source with rarer key frames makes longer ones."""
SPOOL_SECONDS = 1
"""Length of the audio-only files that a live transcriber on the same host reads."""
STALL_MICROSECONDS = 8_000_000
"""A read that waits longer than this fails."""
QUICK_LOOK_MICROSECONDS = 1_000_000
"""How long ffmpeg looks for the tracks of a live source."""
FROZEN_PLAYLIST_RELOADS = 15
"""An HLS playlist that has not changed in so many reloads has ended."""

FILE_DEMUXERS = "mov,matroska,mpegts,flv,avi,mp3,wav,flac,ogg,aac"
"""What a file may be. This, not the list of protocols, stops a playlist named .mp4 from reading others."""
HLS_DEMUXERS = "hls,mpegts,mov,aac,mp3,webvtt"
PROGRESSIVE_DEMUXERS = "mpegts,aac,mp3"
PUSHED_DEMUXERS = "mpegts,matroska,flv,aac,mp3"
"""What an encoder may send: what can be read from the middle on, or from its beginning without its end."""
COPIED_PICTURE = frozenset({"h264", "hevc"})
COPIED_SOUND = frozenset({"aac", "mp3", "ac3"})
"""What MPEG-TS segments carry as it comes; other sound is encoded anew. The rest would be unreadable in them."""
_TIMES_FROM_PTS = r"setts=pts=if(eq(PTS\,NOPTS)\,0\,PTS):dts=if(eq(DTS\,NOPTS)\,N\,DTS)"
"""RTSP gives pictures no decoding times; with B-frames, ffmpeg would end at the first packet without them."""
DECODERS = (
    "h264,hevc,vp8,vp9,libvpx,libvpx-vp9,av1,libdav1d,libaom-av1,mpeg1video,mpeg2video,mpeg4,h263,flv,vp6f,mjpeg,"
    "prores,dnxhd,theora,png,"
    "aac,aac_latm,mp3,mp3float,mp2,mp2float,mp1,ac3,eac3,opus,libopus,vorbis,flac,alac,"
    "pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,pcm_f32le,pcm_f32be,pcm_f64le,pcm_u8,"
    "pcm_alaw,pcm_mulaw,adpcm_ms,adpcm_ima_wav"
)
"""Decoders a hostile file may reach. (The cover picture of an MP3 is mjpeg or png.)"""


@cache
def ffmpeg_path() -> str:
    """The ffmpeg to run: the one on PATH, else the one that imageio-ffmpeg brings. Raises `MediaError`."""
    found = shutil.which("ffmpeg")
    if found:
        return found
    try:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError) as error:
        message = "there is no ffmpeg here; install it (apt install ffmpeg) or pip install imageio-ffmpeg"
        raise MediaError(message) from error


def program() -> list[str]:
    """How every ffmpeg begins: never interactive, warnings on stderr."""
    return [ffmpeg_path(), "-hide_banner", "-nostdin", "-nostats", "-v", "warning"]


def file_url(path: Path) -> str:
    """A path as ffmpeg takes it literally."""
    return f"file:{path.absolute()}"


def _arguments(stream: Any) -> list[str]:  # noqa: ANN401 - ffmpeg-python has no types
    compiled: list[str] = ffmpeg.compile(stream, cmd=[])
    return compiled


# --- recording ------------------------------------------------------------------------------------------


def http_input(url: str, *, hls: bool, segments_back: int | None = None, thorough: bool = False) -> Any:  # noqa: ANN401
    """The input for an HTTP source, which is reached through the vetting proxy in ffmpeg's environment.

    What ffmpeg reads before it knows its tracks it keeps in memory, five seconds unless told otherwise: that much
    a kill would cost. One second is enough unless key frames are rarer; then it takes a `thorough` look.

    `segments_back` starts an HLS source with so many of its newest segments instead of three: after an
    interruption, those that were missed and some that are known.
    """
    options: dict[str, Any] = {
        "protocol_whitelist": "http,https,httpproxy,tls,tcp,crypto",
        "format_whitelist": HLS_DEMUXERS if hls else PROGRESSIVE_DEMUXERS,
        "rw_timeout": STALL_MICROSECONDS,
    }
    if hls:
        # Named, because ffmpeg 9 would not believe it without the right ending or type.
        options |= {"f": "hls", "m3u8_hold_counters": FROZEN_PLAYLIST_RELOADS}
        if segments_back is not None:
            options["live_start_index"] = -segments_back
    elif not thorough:
        options["analyzeduration"] = QUICK_LOOK_MICROSECONDS
    return ffmpeg.input(url, **options)


def listed_input(protocols: str, demuxers: str) -> Any:  # noqa: ANN401
    """The input for a source whose address stands in a list on stdin (`source_list`), not on the command line."""
    return ffmpeg.input(
        "pipe:0",
        f="concat",
        safe=0,
        protocol_whitelist=f"pipe,{protocols}",
        format_whitelist=f"concat,{demuxers}",
    )


def source_list(url: str, protocols: str, demuxers: str, **options: str | int) -> str:
    """A list for the concat demuxer with one source.

    The source gets whitelists of its own: with those of the list, it could pass for a list itself.
    """
    lines = ["ffconcat version 1.0", f"file {_quoted(url)}"]
    whitelists = {"protocol_whitelist": protocols, "format_whitelist": demuxers}
    lines += [f"option {name} {_quoted(str(value))}" for name, value in (whitelists | options).items()]
    return "\n".join(lines) + "\n"


def pushed_input() -> Any:  # noqa: ANN401
    """The input for what an encoder sends, on stdin as it comes."""
    return ffmpeg.input("pipe:0", protocol_whitelist="pipe", format_whitelist=PUSHED_DEMUXERS)


def _quoted(text: str) -> str:
    """A word of the concat demuxer's script. Raises `MediaError` for what would be more than that.

    A line ends the word whatever its quotes: the next would be a directive, with which one can open any file.
    """
    if any(end in text for end in "\n\r\0"):
        raise MediaError("an address or a file name with a line break in it cannot be given to ffmpeg")
    return "'" + text.replace("'", "'\\''") + "'"


def _segments(pattern: str, seconds: float, *, encode_sound: bool) -> dict[str, Any]:
    """Options of a segment muxer whose time stamps are those of its neighbour in the same process.

    ``avoid_negative_ts`` has to be off for the muxer and for the muxer inside it: else a source with B-frames
    is shifted where there is a picture and not where there is only sound. ``flush_packets`` has to be given
    to the inner muxer; a global one does not reach it, and a kill would then lose seconds.
    """
    codecs = {"c:v": "copy", "c:a": "aac", "b:a": "128k"} if encode_sound else {"c": "copy"}
    return {
        "filename": pattern,
        **codecs,
        "f": "segment",
        "segment_time": seconds,
        "segment_format": "mpegts",
        "avoid_negative_ts": "disabled",
        "segment_format_options": "flush_packets=1:avoid_negative_ts=disabled",
    }


def record(
    source: Any,  # noqa: ANN401
    *,
    spool: Path | None,
    encode_sound: bool = False,
    lacks_decoding_times: bool = False,
) -> list[str]:
    """Copy a source into MPEG-TS segments in the working folder, and its sound into short files in `spool`.

    Media segments are called ``s%08d.ts``; ffmpeg prints ``name,start,end`` on stdout once a file is final.
    Spool files are called ``a%08d.ts``; one is final once the next exists. Both carry the same time stamps.
    What the source holds is said on stderr before the first file begins.
    """
    archive = _segments("s%08d.ts", SEGMENT_SECONDS, encode_sound=encode_sound)
    if lacks_decoding_times:
        archive["bsf:v"] = _TIMES_FROM_PTS
    archive |= {"segment_list": "pipe:1", "segment_list_type": "csv"}
    outputs = [ffmpeg.output(source["v:0?"], source["a:0?"], **archive)]
    if spool is not None:
        # A % in a folder's name would be taken for the place of the number.
        pattern = str(spool.absolute()).replace("%", "%%") + "/a%08d.ts"
        outputs.append(
            ffmpeg.output(source["a:0"], **_segments(pattern, SPOOL_SECONDS, encode_sound=encode_sound))
        )
    return ["-v", "info", *_arguments(ffmpeg.merge_outputs(*outputs))]


LOOK_SECONDS = 2
"""How much of a source's sound is measured."""


def first_look(source: Any, *, picture: bool, sound: bool) -> list[str]:  # noqa: ANN401
    """Decode a source's first picture, as JPEG on stdout, and measure its first seconds of sound, on stderr."""
    outputs = []
    if picture:
        jpeg = {"frames:v": 1, "vf": "scale=min(960\\,iw):-2", "q:v": 4, "f": "mjpeg", "pix_fmt": "yuvj420p"}
        outputs.append(ffmpeg.output(source["v:0"], "pipe:1", **jpeg))
    if sound:
        outputs.append(ffmpeg.output(source["a:0"], "-", af="volumedetect", t=LOOK_SECONDS, f="null"))
    return ["-v", "info", "-codec_whitelist", DECODERS, *_arguments(ffmpeg.merge_outputs(*outputs))]


# --- reading files --------------------------------------------------------------------------------------


def _file_input(path: Path, **options: Any) -> Any:  # noqa: ANN401
    whitelists = {
        "protocol_whitelist": "file",
        "format_whitelist": FILE_DEMUXERS,
        "codec_whitelist": DECODERS,
    }
    return ffmpeg.input(file_url(path), **(whitelists | options))


def inspect(path: Path, demuxers: str = FILE_DEMUXERS) -> list[str]:
    """Read every packet without decoding; what it is goes to stderr, how far it came to stdout."""
    source = _file_input(path, format_whitelist=demuxers)
    output = ffmpeg.output(source["V:0?"], source["a:0?"], "-", c="copy", f="null", progress="pipe:1")
    return ["-v", "info", *_arguments(output)]


def pcm(path: Path, channels: int = 1) -> list[str]:
    """Decode a file's sound to 16 kHz samples (32-bit little-endian floats, channels in turn) on stdout.

    Where the sound begins later than the file, or is missing, there is silence: sample n is at n / 16000 s.
    """
    return _samples(_file_input(path), channels, first_pts=0)


def pcm_from_transport_stream(channels: int = 1) -> list[str]:
    """The same for MPEG-TS on stdin as it comes, but sample 0 is the first packet of sound.

    Time stamps are taken as they are (``copyts``), else a jump of more than ten seconds would be closed up.
    Little is read before the first sample comes out: the stream may be live.
    """
    source = ffmpeg.input(
        "pipe:0",
        f="mpegts",
        codec_whitelist=DECODERS,
        probesize=65_536,
        analyzeduration=1_000_000,
    )
    return ["-copyts", *_samples(source, channels)]


def _samples(source: Any, channels: int, **options: int) -> list[str]:  # noqa: ANN401
    sound = source["a:0"].filter("aresample", 16_000, **{"async": 1, **options})
    output = ffmpeg.output(sound, "pipe:1", f="f32le", ac=channels, acodec="pcm_f32le", flush_packets=1)
    return _arguments(output)


# --- assembling -----------------------------------------------------------------------------------------


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


@dataclass(frozen=True, slots=True)
class Tracks:
    """The codecs of a source as ffmpeg names them (``h264``, ``aac``); None where there is no such track."""

    video: str | None
    audio: str | None


PLAYABLE_VIDEO = frozenset({"h264", "hevc", "av1"})
PLAYABLE_AUDIO = frozenset({"aac"})


def concat_script(reel: Reel, *, sound_alone: bool = False) -> str:
    """The concat demuxer's script: one file a take with an explicit duration, so that no error adds up.

    It puts the first track of one file behind the first of the next; `sound_alone` goes by their ids.
    """
    lines = ["ffconcat version 1.0"]
    if sound_alone:
        lines += ["stream", f"exact_stream_id {_SOUND_ID:#x}"]
    for part in reel.parts:
        lines += [f"file {_quoted(file_url(part.file))}", f"duration {to_seconds(part.duration_ticks)}"]
    return "\n".join(lines) + "\n"


def as_second_track(take: Path, target: Path) -> list[str]:
    """Give the sound of a take that has no picture the id that it has in those that do, at the same times."""
    options = {"c": "copy", "streamid": f"0:{_SOUND_ID}", "muxdelay": 0, "muxpreload": 0, "f": "mpegts"}
    return ["-y", "-copyts", *_arguments(ffmpeg.output(_file_input(take)["a:0"], file_url(target), **options))]


def silence(take: Path, like: Path, target: Path, *, duration_ticks: int) -> list[str]:
    """Give a take without sound a silent track, of the rate and the channels that the sound of `like` has."""
    picture, sound = _file_input(take)["V:0"], _file_input(like, stream_loop=-1)["a:0"]
    options = {"c:v": "copy", "c:a": "aac", "b:a": "32k", "af": "volume=0", "f": "mpegts"}
    output = ffmpeg.output(picture, sound, file_url(target), t=to_seconds(duration_ticks), **options)
    return ["-y", *_arguments(output)]


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
    return _playable(_tracks_of(_file_input(source), tracks), target, tracks, ())


def in_milliseconds(source: Path, target: Path, tracks: Tracks) -> list[str]:
    """Copy any accepted file into Matroska, whose times are milliseconds."""
    streams = _tracks_of(_file_input(source), tracks)
    return [
        "-y",
        *_arguments(
            ffmpeg.output(*streams, file_url(target), c="copy", f="matroska", avoid_negative_ts="disabled")
        ),
    ]


def make_playable_without(source: Path, target: Path, tracks: Tracks, left_out: Sequence[Stretch]) -> list[str]:
    """The same of what `in_milliseconds` has made: the filter that leaves packets out counts in the file's units.

    ffmpeg 5.1 gives it times in the units of the file to be written, and says that they are those of the source.
    """
    # Sound that begins a frame before the picture would move the picture.
    streams = _tracks_of(_file_input(source), tracks)
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
    return ["-y", *_arguments(ffmpeg.output(*streams, file_url(target), **options, **more))]


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


def poster(source: Path, target: Path, *, at_ms: int) -> list[str]:
    """One picture as JPEG, at most 1280 wide."""
    picture = _file_input(source, ss=f"{at_ms}ms")["V:0"]
    options = {"frames:v": 1, "vf": "scale=min(1280\\,iw):-2", "q:v": 3, "f": "mjpeg", "pix_fmt": "yuvj420p"}
    return ["-y", *_arguments(ffmpeg.output(picture, file_url(target), **options))]


# --- looking at a finished file -----------------------------------------------------------------------------


def count(path: Path) -> list[str]:
    """Read every packet of the tracks that are kept; how many there are is said on stderr."""
    source = _file_input(path)
    output = ffmpeg.output(source["V:0?"], source["a:0?"], "-", c="copy", f="null")
    return ["-v", "verbose", *_arguments(output)]


def survey(path: Path, strip: tuple[Path, Strip] | None, peaks_rate: int | None) -> list[str]:
    """Decode the key frames and all sound of a file once, for everything that is made of it.

    Pictures go into `strip`, the JPEG to write and its plan. Sound (None: there is none) goes to stdout in mono
    with this many samples a second, 16-bit little-endian, silent where it is missing. On stderr: the loudness by
    EBU R128, and what was read and decoded.
    """
    outputs, progress = [], {} if peaks_rate else {"progress": "pipe:1"}
    source = _file_input(path, **({"skip_frame:v": "nokey"} if strip else {}))
    if strip is not None:
        file, plan = strip
        keys, pictures = _split(source["V:0"], "split")
        outputs.append(ffmpeg.output(keys, "-", f="null", fps_mode="passthrough", **progress))
        outputs.append(ffmpeg.output(_tiles(pictures, plan), file_url(file), **_JPEG, **{"q:v": 5}))
    if peaks_rate is not None:
        loud, low = _split(source["a:0"], "asplit")
        # Its lines for every tenth of a second belong to a level of their own; the summary is said in any case.
        measured = loud.filter("ebur128", peak="true", framelog="verbose")
        outputs.append(ffmpeg.output(measured, "-", f="null"))
        mono = low.filter("aresample", peaks_rate, **{"async": 1, "first_pts": 0})
        outputs.append(ffmpeg.output(mono, "pipe:1", f="s16le", ac=1, acodec="pcm_s16le"))
    return ["-y", "-v", "verbose", *_arguments(ffmpeg.merge_outputs(*outputs))]


_JPEG = {"frames:v": 1, "f": "mjpeg", "pix_fmt": "yuvj420p"}


def _split(stream: Any, name: str) -> tuple[Any, Any]:  # noqa: ANN401 - ffmpeg-python has no types
    both = stream.filter_multi_output(name)
    return both[0], both[1]


def _tiles(pictures: Any, plan: Strip) -> Any:  # noqa: ANN401
    """For each interval the key frame before its first quarter ends; the last is repeated where they are rare."""
    moved = pictures.filter("setpts", f"max(PTS-{plan.interval_ms / 4000}/TB,0)")
    lasting = moved.filter("tpad", stop_mode="clone", stop=1)  # `fps` drops a picture that is the only one
    steady = lasting.filter("fps", f"1000/{plan.interval_ms}", start_time=0, round="up")
    filled = steady.filter("tpad", stop_mode="clone", stop=plan.count)
    small = filled.filter("scale", plan.width, plan.height).filter("setsar", 1)
    return small.filter("tile", f"{plan.columns}x{plan.rows}", nb_frames=plan.count)


def first_picture(path: Path, width: int) -> list[str]:
    """The first picture of a media segment as JPEG on stdout, at most this wide."""
    picture = _file_input(path)["V:0"]
    return _arguments(ffmpeg.output(picture, "pipe:1", vf=f"scale=min({width}\\,iw):-2", **_JPEG, **{"q:v": 4}))
