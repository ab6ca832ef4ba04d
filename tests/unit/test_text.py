from __future__ import annotations

import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamarchive import text

MIXED = st.text(
    alphabet=st.one_of(
        st.sampled_from("aBé ß'’,.-5０Ａｆﬁ㎞ｶﾞ車车舱智能著臺·。，\u0301\u200b\n"), st.characters()
    ),
    max_size=40,
)


def folded(shown: str) -> list[str]:
    return [token.text for token in text.tokens(shown)]


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ("L4 and 5G on 800V.", ["l4", "and", "5g", "on", "800v"]),
        ("智能座舱", ["智", "能", "座", "舱"]),
        ("用5G手机", ["用", "5g", "手", "机"]),
        ("ＡＢＣ １２３", ["abc", "123"]),
        ("Straße CAFE\u0301", ["strasse", "café"]),
        ("電動車 軟體", ["电", "动", "车", "软", "体"]),
        ("Tesla's don't O’Brien", ["tesla", "dont", "obrien"]),
        ("lane-keeping snake_case", ["lane", "keeping", "snake", "case"]),
        ("埃隆·马斯克", ["埃", "隆", "马", "斯", "克"]),
        ("二〇二三 人々 カー", ["二", "〇", "二", "三", "人", "々", "カ", "ー"]),
        ("— … !?", []),
        ("", []),
    ],
)
def test_words_and_characters_are_folded(shown: str, expected: list[str]) -> None:
    assert folded(shown) == expected


def test_places_point_into_the_shown_text_where_folding_changes_lengths() -> None:
    shown = "㎞ ﬁsh ﾊﾞｽ Cafe\u0301 車"
    assert [shown[t.start : t.end] for t in text.tokens(shown)] == [
        "㎞", "ﬁsh", "ﾊﾞ", "ｽ", "Cafe\u0301", "車",
    ]  # fmt: skip


def test_terms_are_pairs_of_neighbouring_characters() -> None:
    assert text.terms(text.tokens("智能座舱 cockpit 好")) == ("智能", "能座", "座舱", "舱", "cockpit", "好")
    assert text.terms(text.tokens("智能，座舱")) == text.terms(text.tokens("智能座舱"))


def test_a_phrase_asks_for_a_beginning_only_after_a_lone_last_character() -> None:
    assert text.phrase("座舱") == text.Phrase(("座舱",))
    assert text.phrase("smart 座舱") == text.Phrase(("smart", "座舱"))
    assert text.phrase("舱") == text.Phrase(("舱",), prefix=True)
    assert text.phrase("5G手") == text.Phrase(("5g", "手"), prefix=True)
    assert text.phrase("手 5G") == text.Phrase(("手", "5g"))
    assert text.phrase("……") is None


@pytest.mark.parametrize(
    ("words", "alike"),
    [
        (("battery", "batteries"), True),
        (("charge", "charging", "charged"), True),
        (("car", "care"), False),
        (("L4", "l4s"), False),
        (("座舱", "座"), False),
    ],
)
def test_forms_of_an_english_word_have_one_stem(words: tuple[str, ...], *, alike: bool) -> None:
    assert (len({text.stem(word.lower()) for word in words}) == 1) is alike


@pytest.mark.parametrize(
    ("shown", "others"),
    [
        ("軟體", ["软件"]),
        ("软件", ["软体"]),
        ("800V", ["800 v"]),
        ("L4", ["l 4"]),
        ("battery", []),
        ("车", []),
        ("車\ud800軟體", ["车软件"]),
    ],
)
def test_other_wordings(shown: str, others: list[str]) -> None:
    folded_others = [
        " ".join(folded(other)).replace(" ", "" if not other.isascii() else " ") for other in text.wordings(shown)
    ]
    assert folded_others == others


def test_the_beginning_of_a_text_is_shown_text() -> None:
    assert text.beginning("One, two; three.", 2) == "One, two"
    assert text.beginning("我们聊 cockpit。", 9) == "我们聊 cockpit。"
    assert text.beginning("", 3) == ""


def test_spans_are_merged_and_in_order() -> None:
    shown = "The ﬁsh, the Fish."
    assert [shown[a:b] for a, b in text.spans(shown, ["fish", "ﬁsh the", "nothing"])] == ["ﬁsh, the", "Fish"]


def test_long_words_are_cut_alike_in_texts_and_queries() -> None:
    word = "a" * 500
    assert folded(word) == ["a" * text.MAX_WORD]
    assert text.spans(f"x {word} y", [word]) == ((2, 502),)


@given(MIXED)
def test_places_are_inside_the_text_and_rise(shown: str) -> None:
    end = 0
    for token in text.tokens(shown):
        assert 0 <= token.start < token.end <= len(shown)
        assert token.end >= end
        assert token.text
        assert not any(c.isspace() for c in token.text)
        assert token.text.isascii() is False or token.text.isalnum()
        end = token.end


@given(MIXED, st.lists(MIXED, max_size=3))
def test_spans_are_inside_the_text_and_do_not_overlap(shown: str, phrases: list[str]) -> None:
    end = 0
    for start, stop in text.spans(shown, [*phrases, shown[1:4]]):
        assert end <= start < stop <= len(shown)
        end = stop


@given(MIXED, st.data())
def test_every_run_of_tokens_is_found_by_its_phrase(shown: str, data: st.DataObject) -> None:
    found = text.tokens(shown)
    if not found:
        return
    first = data.draw(st.integers(0, len(found) - 1))
    last = data.draw(st.integers(first, len(found) - 1))
    wanted = " ".join(token.text for token in found[first : last + 1])
    asked = text.phrase(wanted)
    assert asked is not None
    stored = text.terms(found)[first : first + len(asked.terms)]
    assert stored[:-1] == asked.terms[:-1]
    assert stored[-1].startswith(asked.terms[-1]) if asked.prefix else stored[-1] == asked.terms[-1]
    assert text.occurrences(found, text.tokens(wanted))


@given(st.text(alphabet="Aaé車臺カガｶﾞＡ１", max_size=20))
def test_compatibility_forms_are_analysed_alike(shown: str) -> None:
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert folded(unicodedata.normalize(form, shown)) == folded(shown)


def test_chinese_conversion_is_loaded_with_the_first_chinese_text_only() -> None:
    program = (
        "import sys; from streamarchive import text; text.tokens('plain é'); assert 'opencc' not in sys.modules;"
        "text.tokens('車'); assert 'opencc' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
