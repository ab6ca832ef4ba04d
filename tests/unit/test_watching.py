from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamarchive.models import Cue, CueId, RecordingId, TranscriptId
from streamarchive.search.expansion import expanded
from streamarchive.search.query import parse
from streamarchive.search.watching import Lookup, Match, Spoken


def cue(text: str, *, lang: str = "en", speaker: str | None = None) -> Cue:
    return Cue(
        CueId(1),
        TranscriptId(1),
        RecordingId(1),
        0,
        4_000,
        text,
        lang,
        (),
        speaker,
        None,
        0,
        1,
        human=False,
        read=False,
    )


def spoken(text: str, before: str = "", after: str = "", **more: str) -> Spoken:
    return Spoken(cue(text, **more), cue(before) if before else None, cue(after) if after else None)


def met(typed: str, said: Spoken) -> bool:
    return bool(Lookup({7: parse(typed)}).matches(said))


def test_all_words_of_a_query_have_to_be_said_in_one_cue() -> None:
    assert met("battery swap", spoken("We swap the battery."))
    assert not met("battery swap", spoken("We charge the battery."))
    assert not met("battery swap", spoken("The battery.", before="They swap it."))
    assert met('"Smart Cockpit"', spoken("a smart cockpit listens"))
    assert not met('"smart cockpit"', spoken("a smart new cockpit listens"))


def test_chinese_is_met_in_either_script_and_without_spaces() -> None:
    assert met("智能座舱", spoken("我们的智能座艙可以理解", lang="zh"))
    assert met("京", spoken("京东", lang="zh"))
    assert not met("智能座舱", spoken("智能的座舱", lang="zh"))


def test_forms_of_a_word_count_as_in_searching() -> None:
    assert met("battery", spoken("two batteries"))
    assert not met('"battery"', spoken("two batteries"))
    assert met("软件", spoken("新的軟體", lang="zh"))
    paired = expanded(parse("smart cockpit"), [("智能座舱", "smart cockpit")])
    assert Lookup({7: paired}).matches(spoken("我们的智能座舱", lang="zh"))
    assert not met("battery -swaps", spoken("a battery swaps itself"))


def test_a_phrase_across_a_border_is_met_once_and_starts_where_it_starts() -> None:
    lookup = Lookup({7: parse('"smart cockpit"')})
    assert lookup.matches(spoken("cockpit listens", before="the smart")) == [Match(7, in_before=True)]
    assert lookup.matches(spoken("the smart", after="cockpit listens")) == [Match(7, in_before=False)]
    assert lookup.matches(spoken("listens to you", before="the smart cockpit")) == []
    assert Lookup({7: parse("座舱")}).matches(spoken("舱里", before="智能座")) == [Match(7, in_before=True)]


def test_filters_and_exclusions_hold() -> None:
    assert met("battery lang:en", spoken("the battery"))
    assert not met("battery lang:zh", spoken("the battery"))
    assert met("battery speaker:zhang", spoken("the battery", speaker="Zhang Wei"))
    assert not met("battery speaker:zhang", spoken("the battery"))
    assert not met("battery -swap", spoken("we swap the battery"))
    assert met("battery -swap", spoken("the battery", before="we swap"))


def test_a_query_that_asks_for_nothing_is_never_met() -> None:
    assert not met("-battery", spoken("anything"))
    assert not met("!!", spoken("anything"))


WORDS = st.lists(st.sampled_from(["a", "b", "c", "车", "座", "舱"]), min_size=1, max_size=4).map(" ".join)


@given(st.lists(WORDS, min_size=1, max_size=20), WORDS, WORDS, WORDS, st.lists(WORDS, max_size=5))
def test_the_lookup_finds_what_comparing_one_by_one_finds(
    queries: list[str], before: str, own: str, after: str, lately: list[str]
) -> None:
    """Whatever term a query stands under, and however common the sample makes it."""
    parsed = {number: parse(f'"{query}"') for number, query in enumerate(queries)}
    said = spoken(own, before, after)
    together = Lookup(parsed, lately).matches(said)
    alone = [match for number, query in parsed.items() for match in Lookup({number: query}).matches(said)]
    assert sorted(together, key=lambda match: match.query_id) == alone
    everything = f" {before} {own} {after} ".replace(" ", "")
    assert all("".join(queries[match.query_id].split()) in everything for match in together)
    for number, query in enumerate(queries):
        if query == own:
            assert number in {match.query_id for match in together}
