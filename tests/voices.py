"""Speech for tests: how a sentence sounds depends on its voice and its words alone.

espeak-ng carries state from one call to the next, even over a new start of the library, so the same sentence
sounds a little different after others, and the small recogniser of the tests mishears it once in a while. Here a
process of its own speaks each sentence, once a run: whatever ran before, and in whichever order, a test hears
the same.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence

from streamarchive.demo.voices import Speech, Synthesiser, Voice

_spoken: dict[tuple[Voice, str], Speech] = {}


def speech(voice: Voice, text: str) -> Speech:
    """One sentence."""
    return speeches([(voice, text)])[0]


def speeches(wanted: Sequence[tuple[Voice, str]]) -> list[Speech]:
    """Several, in order."""
    new = [one for one in dict.fromkeys(wanted) if one not in _spoken]
    if new:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["streamarchive.demo.voices"])
        with context.Pool(1, maxtasksperchild=1) as pool:
            _spoken.update(zip(new, pool.starmap(_speak, new, chunksize=1), strict=True))
    return [_spoken[one] for one in wanted]


def _speak(voice: Voice, text: str) -> Speech:
    return Synthesiser().speak(voice, text)
