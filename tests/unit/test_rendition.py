"""What readers get of what a machine heard: one script, and who speaks."""

from streamarchive.editing.rendition import Rendition
from streamarchive.models import CueDraft, Script, Turn, Word


def line(start_ms, end_ms, text="and so on", lang="en", words=()):
    return CueDraft(start_ms, end_ms, text, lang, tuple(words))


def test_chinese_is_written_in_the_chosen_script_word_by_word():
    heard = line(
        0,
        900,
        "這個系統很乾淨。",
        "zh",
        [Word("這個", 0, 300), Word("系統", 300, 600), Word("很乾淨。", 600, 900)],
    )
    (simplified,) = Rendition(Script.SIMPLIFIED).of([heard])
    assert simplified.text == "这个系统很干净。"
    assert [word.text for word in simplified.words] == ["这个", "系统", "很干净。"]
    (traditional,) = Rendition(Script.TRADITIONAL).of([simplified])
    assert traditional.text == heard.text
    assert Rendition(Script.AS_HEARD).of([heard]) == [heard]


def test_other_languages_keep_their_characters():
    japanese = line(0, 900, "電気自動車", "ja", [Word("電気", 0, 400)])
    assert Rendition(Script.SIMPLIFIED).of([japanese]) == [japanese]


def test_words_go_to_whoever_speaks_longest_while_they_are_said():
    turns = (Turn(0, 1_000, "Left"), Turn(900, 3_000, "Right"), Turn(5_000, 6_000, "Left"))
    lines = [
        line(0, 1_000, words=[Word("and", 0, 200), Word("so", 300, 1_000)]),
        line(800, 2_500, words=[Word("on", 800, 1_000), Word("and", 1_900, 2_500)]),
        line(3_500, 4_000),
        line(5_500, 7_000),
    ]
    assert [each.speaker for each in Rendition(turns=turns).of(lines)] == ["Left", "Right", None, "Left"]


def test_a_long_turn_is_not_forgotten_behind_a_short_one():
    turns = (Turn(0, 10_000, "Left"), Turn(100, 400, "Right"))
    assert [each.speaker for each in Rendition(turns=turns).of([line(0, 90), line(8_000, 9_000)])] == [
        "Left",
        "Left",
    ]
