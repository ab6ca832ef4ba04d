"""Compose and speak an interview to ship with the demo: demo_interview.py OUT.m4a --language zh."""

from __future__ import annotations

import argparse
import itertools
import subprocess
import tempfile
from pathlib import Path

from streamarchive.demo.dialogue import Programme, dialogue
from streamarchive.demo.voices import CAST, Synthesiser, save_wave


def main() -> None:
    """Write the file and print what is said in it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--language", action="append", required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sentences", type=int, default=40)
    arguments = parser.parse_args()
    talk = dialogue(arguments.seed, Programme.draw(arguments.seed), arguments.language)
    spoken = list(itertools.islice(talk, arguments.sentences))
    synthesiser = Synthesiser()
    speeches = [synthesiser.speak(CAST[line.sentence.lang][line.speaker], line.sentence.text) for line in spoken]
    with tempfile.TemporaryDirectory() as folder:
        wave = Path(folder, "talk.wav")
        times = save_wave(wave, speeches)
        encode = ["ffmpeg", "-v", "error", "-y", "-i", str(wave), "-c:a", "aac", "-b:a", "48k"]
        subprocess.run([*encode, str(arguments.file)], check=True)
    for line, (start_ms, _) in zip(spoken, times, strict=True):
        print(f"{start_ms / 1000:7.2f}  {line.speaker:5}  {line.sentence.text}")


if __name__ == "__main__":
    main()
