"""ffmpeg command lines, built as ffmpeg-python graphs and compiled to argument lists.

Every function returns the arguments after the program's name; `streamarchive.media.process` and
`streamarchive.media.sandbox` put the program and its wrappers in front. Paths are given as ``file:`` URLs, so
that no file name can pass for another protocol.
"""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path
from typing import Any

import ffmpeg

from streamarchive.errors import MediaError
from streamarchive.media.thumbnails import Strip

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


def arguments(stream: Any) -> list[str]:  # noqa: ANN401 - ffmpeg-python has no types
    """Of a graph of ffmpeg-python."""
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
    lines = ["ffconcat version 1.0", f"file {quoted(url)}"]
    whitelists = {"protocol_whitelist": protocols, "format_whitelist": demuxers}
    lines += [f"option {name} {quoted(str(value))}" for name, value in (whitelists | options).items()]
    return "\n".join(lines) + "\n"


def pushed_input() -> Any:  # noqa: ANN401
    """The input for what an encoder sends, on stdin as it comes."""
    return ffmpeg.input("pipe:0", protocol_whitelist="pipe", format_whitelist=PUSHED_DEMUXERS)


def quoted(text: str) -> str:
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
    return ["-v", "info", *arguments(ffmpeg.merge_outputs(*outputs))]


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
    return ["-v", "info", "-codec_whitelist", DECODERS, *arguments(ffmpeg.merge_outputs(*outputs))]


# --- reading files --------------------------------------------------------------------------------------


def file_input(path: Path, **options: Any) -> Any:  # noqa: ANN401
    """A file of ours, or an upload: it cannot make ffmpeg open anything else."""
    whitelists = {
        "protocol_whitelist": "file",
        "format_whitelist": FILE_DEMUXERS,
        "codec_whitelist": DECODERS,
    }
    return ffmpeg.input(file_url(path), **(whitelists | options))


def inspect(path: Path, demuxers: str = FILE_DEMUXERS) -> list[str]:
    """Read every packet without decoding; what it is goes to stderr, how far it came to stdout."""
    source = file_input(path, format_whitelist=demuxers)
    output = ffmpeg.output(source["V:0?"], source["a:0?"], "-", c="copy", f="null", progress="pipe:1")
    return ["-v", "info", *arguments(output)]


def pcm(path: Path, channels: int = 1) -> list[str]:
    """Decode a file's sound to 16 kHz samples (32-bit little-endian floats, channels in turn) on stdout.

    Where the sound begins later than the file, or is missing, there is silence: sample n is at n / 16000 s.
    """
    return _samples(file_input(path), channels, first_pts=0)


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
    return arguments(output)


# --- looking at a finished file -----------------------------------------------------------------------------


def count(path: Path) -> list[str]:
    """Read every packet of the tracks that are kept; how many there are is said on stderr."""
    source = file_input(path)
    output = ffmpeg.output(source["V:0?"], source["a:0?"], "-", c="copy", f="null")
    return ["-v", "verbose", *arguments(output)]


def poster(source: Path, target: Path, *, at_ms: int) -> list[str]:
    """One picture as JPEG, at most 1280 wide."""
    picture = file_input(source, ss=f"{at_ms}ms")["V:0"]
    options = {"frames:v": 1, "vf": "scale=min(1280\\,iw):-2", "q:v": 3, "f": "mjpeg", "pix_fmt": "yuvj420p"}
    return ["-y", *arguments(ffmpeg.output(picture, file_url(target), **options))]


def survey(path: Path, strip: tuple[Path, Strip] | None, peaks_rate: int | None) -> list[str]:
    """Decode the key frames and all sound of a file once, for everything that is made of it.

    Pictures go into `strip`, the JPEG to write and its plan. Sound (None: there is none) goes to stdout in mono
    with this many samples a second, 16-bit little-endian, silent where it is missing. On stderr: the loudness by
    EBU R128, and what was read and decoded.
    """
    outputs, progress = [], {} if peaks_rate else {"progress": "pipe:1"}
    source = file_input(path, **({"skip_frame:v": "nokey"} if strip else {}))
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
    return ["-y", "-v", "verbose", *arguments(ffmpeg.merge_outputs(*outputs))]


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
    picture = file_input(path)["V:0"]
    return arguments(ffmpeg.output(picture, "pipe:1", vf=f"scale=min({width}\\,iw):-2", **_JPEG, **{"q:v": 4}))
