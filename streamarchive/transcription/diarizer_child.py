"""Finds the speakers of a recording by their voices (sherpa-onnx), in a process of its own.

Started with the paths of two ONNX files, a segmentation and an embedding model; stdin are 16 kHz mono samples
(little-endian 32-bit floats) to their end; stdout is JSON: `[[start_ms, end_ms, number], …]`, or with `--check`
nothing. Native crashes, and the memory that the whole sound takes, stay here.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def main(arguments: list[str]) -> None:
    """Answer, or end with a status other than 0 and the reason on stderr."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    diarization = _load(*arguments[:2])
    if "--check" in arguments:
        return
    import numpy as np

    samples = np.frombuffer(sys.stdin.buffer.read(), dtype="<f4")
    found = diarization.process(samples).sort_by_start_time() if len(samples) else []
    turns = [(round(each.start * 1000), round(each.end * 1000), each.speaker) for each in found]
    json.dump(turns, answers)
    answers.close()


def _load(segmentation: str, embedding: str) -> Any:  # noqa: ANN401 - the package has no types
    import sherpa_onnx as sherpa

    pyannote = sherpa.OfflineSpeakerSegmentationPyannoteModelConfig(model=segmentation)
    config = sherpa.OfflineSpeakerDiarizationConfig(
        segmentation=sherpa.OfflineSpeakerSegmentationModelConfig(pyannote=pyannote),
        embedding=sherpa.SpeakerEmbeddingExtractorConfig(model=embedding),
        clustering=sherpa.FastClusteringConfig(num_clusters=-1, threshold=0.5),
    )
    if not config.validate():
        sys.exit("they are no models of sherpa-onnx for diarization")
    return sherpa.OfflineSpeakerDiarization(config)


if __name__ == "__main__":
    main(sys.argv[1:])
