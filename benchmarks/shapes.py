"""Checkpoints of the true shapes of Whisper's models that say a fixed text, for measurements of speed.

Their weights are random, so they hear nothing; but the embeddings are arranged so that each position of the
decoder prefers one token: the language, the task, the timestamp of the beginning, `TOKENS` different tokens of
text, a timestamp, the end. So every program that runs them decodes the same number of tokens for each window,
once, surely, and without a loop, and all of its code is at work.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from whisper.model import ModelDimensions, Whisper
from whisper.tokenizer import get_tokenizer

TOKENS = 100
"""Of text in a window of 30 s: what people say in that time."""
SHAPES = {
    "base": ModelDimensions(80, 1500, 512, 8, 6, 51865, 448, 512, 8, 6),
    "small": ModelDimensions(80, 1500, 768, 12, 12, 51865, 448, 768, 12, 12),
    "turbo": ModelDimensions(128, 1500, 1280, 20, 32, 51866, 448, 1280, 20, 4),
}
_END_SECONDS = 29.0


def make(name: str, folder: Path) -> Path:
    """Write the checkpoint of this shape, as published ones are: in 16 bits."""
    model = Whisper(SHAPES[name])
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight_name, weight in model.named_parameters():
            if weight.ndim >= 2:
                weight.normal_(0, 0.02, generator=generator)
            elif "ln" in weight_name and weight_name.endswith("weight"):
                weight.fill_(1.0)
            else:
                weight.zero_()
        _arrange(model, generator)
    path = folder / f"{name}.pt"
    torch.save({"dims": vars(model.dims), "model_state_dict": model.half().state_dict()}, path)
    path.with_suffix(".json").write_text(json.dumps({"fine_tuned_from": name}))  # words by the same heads
    return path


def _arrange(model: Whisper, generator: torch.Generator) -> None:
    """Give each position a direction of its own, and the token it is to say the same direction."""
    tokenizer = get_tokenizer(
        multilingual=True, num_languages=model.num_languages, language="en", task="transcribe"
    )
    width = model.dims.n_text_state
    directions = torch.randn(model.dims.n_text_ctx, width, generator=generator) / width**0.5
    first, last = tokenizer.timestamp_begin, tokenizer.timestamp_begin + round(_END_SECONDS / 0.02)
    words = [tokenizer.encode(f" {word}") for word in _vocabulary()]
    text = [tokens[0] for tokens in words if len(tokens) == 1][:TOKENS]
    english = tokenizer.to_language_token("en")
    said = [english, tokenizer.transcribe, first, *text, last, tokenizer.eot]
    embedding, position = model.decoder.token_embedding.weight, model.decoder.positional_embedding
    position.copy_(20 * directions)
    for at, token in enumerate(said):
        embedding[token] = directions[at]
    position[len(said) :] = position[len(said) - 1]  # beyond: the end


def _vocabulary() -> list[str]:
    """Many ordinary words; those that are one token are taken."""
    text = Path(__file__).read_text(encoding="utf-8") + (Path(__file__).parents[1] / "README.md").read_text(
        "utf-8"
    )
    words = dict.fromkeys(word.strip(".,:;()'\"`*") for word in text.split())
    return [word for word in words if word.isascii() and word.isalpha() and word.islower() and len(word) > 2]
