"""What a recogniser's tokens say about time: lines between timestamp tokens, words along attention. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def timed_lines(
    tokens: list[int], timestamp_begin: int, frames: int
) -> tuple[list[tuple[list[int], int, int]], int | None]:
    """Split decoded tokens at their timestamps: (text tokens, start frame, end frame) of each line.

    The second value is the frame from which the rest must be decoded again, because the model had room for no
    more or says that a line is unfinished; None when nothing is missing. All frames lie within `frames`.
    """
    lines: list[tuple[list[int], int, int]] = []
    start, text = 0, list[int]()
    for token in tokens:
        if token < timestamp_begin:
            text.append(token)
            continue
        frame = min(token - timestamp_begin, frames)
        if text:
            lines.append((text, start, frame))
            text = []
        start = frame
    if text and lines:
        return lines, start  # cut off: decode it again from where it began
    if text:
        return [(text, start, frames)], None
    finished = len(tokens) < 2 or tokens[-2] < timestamp_begin
    return lines, None if finished else start


def never_said(tokenizer: Any) -> list[int]:  # noqa: ANN401 - whisper's or alike
    """What is never text, in whichever language: annotations, and tokens that steer the model."""
    steering = ("transcribe", "translate", "sot", "sot_prev", "sot_lm", "no_speech")
    return sorted({*tokenizer.non_speech_tokens, *(getattr(tokenizer, name) for name in steering)})


def token_starts(matrix: NDArray[np.float32]) -> NDArray[np.int64]:
    """The frame at which each token begins, on the best monotone path through a tokens-by-frames matrix.

    Every token gets at least one frame while there are enough of them.
    """
    tokens, frames = matrix.shape
    if not tokens:
        return np.zeros(0, np.int64)
    if frames <= tokens:
        return np.linspace(0, frames, tokens, endpoint=False).astype(np.int64)
    # best[f]: the best score of a path that has reached the current token at frame f.
    best = np.cumsum(matrix[0])
    entered = np.zeros((tokens, frames), np.int64)
    for token in range(1, tokens):
        best, entered[token] = _next_row(best, matrix[token], token)
    starts = np.zeros(tokens, np.int64)
    frame = frames - 1
    for token in range(tokens - 1, 0, -1):
        starts[token] = entered[token, frame]
        frame = int(starts[token]) - 1
    return starts


def _next_row(
    best: NDArray[np.float32], row: NDArray[np.float32], token: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Scores for the next token, and the frame at which the best path to each frame enters it."""
    total = np.cumsum(row)
    # Entering at frame f costs what the path to f - 1 had; from there on the row adds up.
    gain = np.full(len(row), -np.inf, np.float64)
    gain[token:] = best[token - 1 : -1] - np.concatenate([[0.0], total[:-1]])[token:]
    reached = np.maximum.accumulate(gain)
    fresh = np.where(gain >= reached, np.arange(len(row)), 0)
    return reached + total, np.maximum.accumulate(fresh)
