"""How the engine's process and its parent talk: frames of JSON with raw samples behind it.

A frame is two big-endian 32-bit lengths, then that many bytes of JSON and of payload.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, BinaryIO

from streamarchive.models import Word
from streamarchive.protocols import Expectation, Line, ModelInfo, TranscribeOptions, Window, WindowResult

if TYPE_CHECKING:
    from streamarchive.protocols import Samples

HEADER = struct.Struct(">II")
Message = dict[str, Any]


def pack(message: Mapping[str, Any], payload: bytes = b"") -> bytes:
    """One frame."""
    text = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()
    return HEADER.pack(len(text), len(payload)) + text + payload


def read(stream: BinaryIO) -> tuple[Message, bytes] | None:
    """The next frame; None at the end of the stream."""
    header = stream.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    text_length, payload_length = HEADER.unpack(header)
    return parse(stream.read(text_length)), stream.read(payload_length)


def parse(text: bytes) -> Message:
    """The JSON of a frame."""
    message: Message = json.loads(text)
    return message


def windows_to_wire(windows: Sequence[Window], options: TranscribeOptions) -> tuple[Message, bytes]:
    """The message and payload that ask for windows."""
    described = [
        {
            "start_ms": window.start_ms,
            "languages": window.languages,
            "prompt": window.prompt,
            "samples": len(window.samples),
        }
        for window in windows
    ]
    payload = b"".join(samples_to_bytes(window.samples) for window in windows)
    return {"windows": described, "options": asdict(options)}, payload


def windows_from_wire(message: Mapping[str, Any], payload: bytes) -> tuple[list[Window], TranscribeOptions]:
    """The reverse of `windows_to_wire`."""
    options = dict(message["options"])
    options["temperatures"] = tuple(options["temperatures"])
    options["expected"] = expected_from_json(options["expected"])
    samples, windows, at = bytes_to_samples(payload), list[Window](), 0
    for one in message["windows"]:
        own = samples[at : at + one["samples"]]
        at += one["samples"]
        windows.append(Window(own, one["start_ms"], tuple(one["languages"]), one["prompt"]))
    return windows, TranscribeOptions(**options)


def expected_from_json(values: Mapping[str, Any]) -> dict[str, Expectation]:
    """What `asdict` made of each `Expectation`, by language."""
    return {code: Expectation(one["opening"], tuple(one["words"])) for code, one in values.items()}


def samples_to_bytes(samples: Samples) -> bytes:
    """Little-endian 32-bit floats."""
    return samples.astype("<f4", copy=False).tobytes()


def bytes_to_samples(payload: bytes) -> Samples:
    """The reverse of `samples_to_bytes`; read-only."""
    import numpy as np

    return np.frombuffer(payload, dtype="<f4")


def result_to_wire(result: WindowResult) -> Message:
    """As JSON."""
    return asdict(result)


def result_from_wire(message: Mapping[str, Any]) -> WindowResult:
    """The reverse of `result_to_wire`."""
    lines = tuple(
        Line(line["start_ms"], line["end_ms"], line["text"], tuple(Word(**word) for word in line["words"]))
        for line in message["lines"]
    )
    return WindowResult(**{**message, "lines": lines, "prompted": tuple(message["prompted"])})


def info_to_wire(info: ModelInfo) -> Message:
    """As JSON."""
    return {**asdict(info), "capabilities": sorted(info.capabilities)}


def info_from_wire(message: Mapping[str, Any]) -> ModelInfo:
    """The reverse of `info_to_wire`."""
    lists = {"languages": tuple(message["languages"]), "capabilities": frozenset(message["capabilities"])}
    return ModelInfo(**{**message, **lists})
