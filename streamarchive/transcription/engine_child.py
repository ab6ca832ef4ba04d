"""The engine's process: reads requests on stdin, answers on stdout, ends when its parent does.

Windows are decoded on the main thread, voice activity on a second one, and a third reads stdin, so that a
cancellation reaches a decoding that is under way. End of stdin means that the parent is gone: the process ends
at once, whatever it is doing.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, BinaryIO

from streamarchive.errors import StreamArchiveError
from streamarchive.transcription import wire

if TYPE_CHECKING:
    from streamarchive.transcription.decoding import Engine
    from streamarchive.transcription.voice import VoiceModel

Request = tuple[wire.Message, bytes]


class EngineChild:
    """The state of the process: the loaded model, the voice model, what has been cancelled."""

    def __init__(self, requests: BinaryIO, replies: BinaryIO) -> None:
        self._requests = requests
        self._replies = replies
        self._writing = threading.Lock()
        self._decoding: queue.SimpleQueue[Request] = queue.SimpleQueue()
        self._voices: queue.SimpleQueue[Request] = queue.SimpleQueue()
        self._cancelled: set[int] = set()
        self._engine: Engine | None = None
        self._voice: VoiceModel | None = None

    def run(self) -> None:
        """Serve until stdin ends."""
        threading.Thread(target=self._read, name="requests", daemon=True).start()
        threading.Thread(target=self._serve, args=(self._voices,), name="voice", daemon=True).start()
        self._serve(self._decoding)

    def _read(self) -> None:
        while (request := wire.read(self._requests)) is not None:
            message = request[0]
            if message["op"] == "cancel":
                self._cancelled.add(message["id"])
            elif message["op"] == "voice":
                self._voices.put(request)
            else:
                self._decoding.put(request)
        os._exit(0)

    def _serve(self, requests: queue.SimpleQueue[Request]) -> None:
        while True:
            message, payload = requests.get()
            reply, data = self._answer(message, payload)
            with self._writing:
                self._replies.write(wire.pack({"id": message["id"], **reply}, data))
                self._replies.flush()

    def _answer(self, message: wire.Message, payload: bytes) -> tuple[wire.Message, bytes]:
        handlers: dict[str, Callable[[wire.Message, bytes], tuple[wire.Message, bytes]]] = {
            "load": self._load,
            "transcribe": self._transcribe,
            "voice": self._score,
            "rehearse": self._rehearse,
        }
        try:
            return handlers[message["op"]](message, payload)
        except StreamArchiveError as error:
            return {"error": type(error).__name__, "sentence": str(error)}, b""
        except Exception as error:  # noqa: BLE001 - whatever the libraries raise, the parent must hear of it
            return {"error": "TranscriptionError", "sentence": _sentence(error)}, b""
        finally:
            self._cancelled.discard(message["id"])

    def _load(self, message: wire.Message, _payload: bytes) -> tuple[wire.Message, bytes]:
        self._engine = _engine(message["engine"])(message["model"], message["device"], message["threads"])
        return {"info": wire.info_to_wire(self._engine.info)}, b""

    def _transcribe(self, message: wire.Message, payload: bytes) -> tuple[wire.Message, bytes]:
        from streamarchive.transcription.decoding import DecodingCancelledError, transcribe

        number: Any = message["id"]
        windows, options = wire.windows_from_wire(message, payload)
        if self._engine is None:
            return {"error": "TranscriptionError", "sentence": "no model has been loaded"}, b""
        try:
            results = transcribe(self._engine, windows, options, lambda: number in self._cancelled)
        except DecodingCancelledError:
            return {"cancelled": True}, b""
        return {"results": [wire.result_to_wire(result) for result in results]}, b""

    def _rehearse(self, message: wire.Message, _payload: bytes) -> tuple[wire.Message, bytes]:
        from streamarchive.transcription.decoding import rehearse

        if self._engine is None:
            return {"error": "TranscriptionError", "sentence": "no model has been loaded"}, b""
        seconds = [rehearse(self._engine, message["beam_size"], message["windows"]) for _ in range(2)]
        return {"seconds": min(seconds)}, b""

    def _score(self, message: wire.Message, payload: bytes) -> tuple[wire.Message, bytes]:
        from streamarchive.transcription.voice import VoiceModel

        if self._voice is None:
            self._voice = VoiceModel()
        state, samples = payload[: message["state"]], payload[message["state"] :]
        probabilities, after = self._voice.score(wire.bytes_to_samples(samples), state)
        return {"probabilities": probabilities}, after


def _engine(kind: str) -> Callable[[str, str, int], Engine]:
    """The class of an engine; only the one that is asked for is imported."""
    if kind == "faster":
        from streamarchive.transcription.faster_engine import FasterEngine

        return FasterEngine
    from streamarchive.transcription.openai_engine import OpenAIEngine

    return OpenAIEngine


def _sentence(error: Exception) -> str:
    first = (str(error).strip().splitlines() or [""])[0]
    return f"the recogniser failed: {type(error).__name__}: {first}"[:500]


def main() -> None:
    """Keep stdout for the replies, whatever the libraries print, and serve."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle: it closes stdin
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    EngineChild(sys.stdin.buffer, replies).run()


if __name__ == "__main__":
    main()
