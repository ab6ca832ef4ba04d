"""What a correction put in, as it is offered to the glossary."""

from __future__ import annotations

import pytest

from streamarchive.editing.replaced import put_in


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("The smart cock pit listens.", "The smart cockpit listens.", "cockpit"),
        ("We met Li bin of neo.", "We met Li Bin of NIO Inc., today.", "NIO Inc., today"),
        ("the nio car", "the NIO car", "NIO"),
        ("我们的智能做舱很安静。", "我们的智能座舱很安静。", "智能座舱很"),
        ("这是未来。", "这是蔚来。", "这是蔚来"),
        ("我们用 Knee 来。", "我们用 NIO 来。", "NIO"),
        ("Nothing new.", "Nothing new!", ""),
        ("Words go out.", "Words go.", ""),
        ("", "", ""),
        ("", "all of it", "all of it"),
    ],
)
def test_the_longest_run_of_new_words_is_offered(before: str, after: str, words: str) -> None:
    assert put_in(before, after) == words
