"""The checkpoint as a file: what `whisper.load_model(path)` reads, in half precision, and small."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path

import torch

from tools.demo_model.model import Recogniser


def export(model: Recogniser, file: Path) -> None:
    """Write it; the file is there whole or not at all. The same weights give the same bytes.

    ``{"dims": …, "model_state_dict": …}`` as in openai-whisper's own checkpoints. torch's archive is a zip
    without compression; most rows of the vocabulary are zeros, so its members are deflated, which torch reads as
    well. Word times come from all heads of the decoder's later half, as Whisper assumes of a checkpoint it does
    not know; the training guides those.
    """
    weights = {name: value.half() for name, value in model.state().items()}
    found = {"dims": vars(model.size.dimensions()), "model_state_dict": weights}
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "checkpoint.pt"
        torch.save(found, plain)
        partial = file.with_name(file.name + ".partial")
        with zipfile.ZipFile(plain) as stored, zipfile.ZipFile(partial, "w") as deflated:
            for member in stored.infolist():
                kept = zipfile.ZipInfo(member.filename)
                deflated.writestr(kept, stored.read(member), zipfile.ZIP_DEFLATED, compresslevel=9)
    partial.replace(file)
