"""Make the demo recogniser: speak, train, export, examine; see docs/decisions/0046.

Everything is kept in a folder as it is reached. Interrupt it whenever you like: the same command goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from streamarchive.demo.grammar import LANGUAGES
from streamarchive.demo.recogniser import checkpoint as shipped_checkpoint
from tools.demo_model import card, model, sentences, synthesis
from tools.demo_model.corpus import Corpus
from tools.demo_model.evaluation import evaluate
from tools.demo_model.export import export
from tools.demo_model.plan import Plan, plan
from tools.demo_model.synthesis import replace_text
from tools.demo_model.training import Training
from tools.demo_model.vocabulary import Vocabulary

_WORKERS = os.cpu_count() or 2


@dataclass(frozen=True, slots=True)
class Work:
    """One making of the recogniser and where it is kept."""

    folder: Path
    plan: Plan
    seed: int
    start: Path | None
    """The checkpoint that the training goes on from; None: from nothing."""

    @property
    def speech(self) -> Path:
        """Spoken sentences."""
        return self.folder / "speech"

    @property
    def checkpoint(self) -> Path:
        """The recogniser, once it is trained."""
        return self.folder / "whisper-demo.pt"

    def settle(self) -> None:
        """Hold what is in the folder to one way of making. Raises `SystemExit` for another."""
        self.folder.mkdir(parents=True, exist_ok=True)
        how = {"seed": self.seed, "start": card.identity(self.start), "plan": repr(self.plan)}
        settled = self.folder / "made-how.json"
        if not settled.is_file():
            replace_text(settled, json.dumps(how))
        elif json.loads(settled.read_text(encoding="utf-8")) != how:
            raise SystemExit(
                f"{self.folder} holds another way of making: give another --folder, or remove this one"
            )

    def speak(self) -> list[str]:
        """Make all sound; the names of the shards."""
        wanted = [
            shard
            for language in LANGUAGES
            for shard in synthesis.shards(sentences.training(language, self.plan.sentences, self.seed), self.seed)
        ]
        for count, shard in enumerate(synthesis.synthesise(wanted, self.speech, _WORKERS), 1):
            tell(f"spoken: {shard.name} through {shard.codec} ({count} in this run, {len(wanted)} in all)")
        return [shard.name for shard in wanted]

    def make(self) -> None:
        """The checkpoint, if it is not there yet."""
        if not self.checkpoint.is_file():
            self.train(self.speak())

    def train(self, shards: list[str]) -> None:
        """Train to the end and export."""
        torch.set_num_threads(_WORKERS)
        torch.manual_seed(self.seed)
        corpus = Corpus(self.speech, shards)
        tell(f"training with {corpus.hours:.1f} h of speech")
        learned = model.tokens_of(self.start) if self.start else ()
        recogniser = model.Recogniser(model.Size(), Vocabulary.of(corpus.sentences, learned))
        if self.start:
            recogniser.go_on_from(self.start)
        training = Training(
            recogniser, self.plan.stages, (self.speech, shards), self.folder / "training.pt", self.seed
        )
        for line in training.run():
            tell(line)
        export(recogniser, self.checkpoint)

    def examine(self) -> None:
        """Print the table and write the card."""
        figures = []
        for figure in evaluate(self.checkpoint, self.folder / "examination", self.plan.examined):
            figures.append(figure)
            tell(card.row(figure))
        report = card.Card(tuple(figures), card.identity(self.start), self.seed)
        report.write(self.checkpoint)


def tell(line: str) -> None:
    """Say how it goes."""
    print(f"{time.strftime('%H:%M:%S')}  {line}", flush=True)


def main() -> None:
    """Do all of it, or go on with it."""
    parser = argparse.ArgumentParser(prog="python -m tools.demo_model", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("build/demo-model"), help="where everything is kept")
    parser.add_argument("--start", type=Path, help="a checkpoint to go on from, instead of from nothing")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scale", type=float, default=1.0, help="of all sizes; 0.01 tries whether it runs")
    parser.add_argument("--install", action="store_true", help="put the result in the place of the shipped one")
    parser.add_argument("--examine", type=Path, metavar="CHECKPOINT", help="only examine this one")
    chosen = parser.parse_args()
    sizes = plan(from_checkpoint=chosen.start is not None, scale=chosen.scale)
    if chosen.examine:
        for figure in evaluate(chosen.examine, chosen.folder / "examination", sizes.examined):
            tell(card.row(figure))
        return
    work = Work(chosen.folder, sizes, chosen.seed, chosen.start)
    work.settle()
    work.make()
    work.examine()
    if chosen.install:
        for suffix in (".pt", ".json", ".md"):
            shutil.copyfile(work.checkpoint.with_suffix(suffix), shipped_checkpoint().with_suffix(suffix))


if __name__ == "__main__":
    main()
