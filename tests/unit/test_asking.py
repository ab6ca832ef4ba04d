from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamarchive.protocols import Sort
from streamarchive.search.query import parse
from web import asking
from web.asking import Asked


@given(
    st.text(max_size=40), st.sampled_from(["interviews", "moments"]), st.sampled_from(Sort), st.text(max_size=20)
)
def test_an_address_says_what_was_asked(typed: str, view: str, sort: Sort, after: str) -> None:
    asked = Asked(typed.strip(), view, sort, after)
    parameters = parse_qs(urlsplit(asked.url(after=after)).query, keep_blank_values=True)
    assert asking.read({name: values[0] for name, values in parameters.items()}) == asked


def test_another_question_begins_at_its_beginning() -> None:
    asked = Asked("battery", asking.MOMENTS, Sort.NEWEST, after="cursor")
    assert asked.url(sort=Sort.OLDEST) == "/search?q=battery&view=moments&sort=oldest"


@pytest.mark.parametrize("parameters", [{"view": "x"}, {"sort": "x"}, {"after": "x" * 9_999}, {}])
def test_what_makes_no_sense_is_as_if_it_had_not_been_said(parameters: dict[str, str]) -> None:
    assert asking.read({"q": "battery", **parameters}) == Asked("battery")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("speaker", "Zhang Wei"),
        ("lang", "zh"),
        ("event", "Auto “Beijing”"),
        ("year", "2026"),
        ("in", "0123456789"),
    ],
)
def test_a_filter_comes_and_goes(name: str, value: str) -> None:
    typed = 'battery "smart cockpit" -price speaker:ann'
    more = parse(asking.with_filter(parse(typed), name, value))
    assert len(asking.filters(more)) == 2
    [added] = [pair for pair in asking.filters(more) if pair != ("speaker", "ann")]
    assert parse(asking.without_filter(more, *added)) == parse(typed)
