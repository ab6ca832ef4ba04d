from __future__ import annotations

import re
from pathlib import Path

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

import web
from web.languages import choose_language, load_languages

FOLDER = Path(web.__file__).parent
TEMPLATES = {"**.html": {"trim_blocks": "true", "lstrip_blocks": "true", "newstyle_gettext": "true"}}
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|\{\w+\}")


def messages():
    found = extract_from_dir(
        FOLDER,
        [("**.py", "python"), ("**.html", "jinja2")],
        TEMPLATES,
        keywords={"gettext": None, "_": None, "ngettext": (1, 2)},
    )
    return {message for _, _, message, _, _ in found if message}


def chinese():
    with (FOLDER / "locale" / "zh_Hans.po").open("rb") as source:
        catalogue = read_po(source, locale="zh_Hans")
    return {
        message.id: message.string[0] if isinstance(message.string, tuple) else message.string
        for message in catalogue
        if message.id
    }


def test_every_sentence_of_the_pages_is_there_in_chinese():
    translated = {message for message, text in chinese().items() if text}
    assert messages() - translated == set()


def test_the_chinese_catalogue_holds_nothing_the_pages_do_not_say():
    assert set(chinese()) - messages() == set()


def test_translations_keep_their_placeholders():
    for message, text in chinese().items():
        wanted = message[-1] if isinstance(message, tuple) else message
        assert sorted(PLACEHOLDER.findall(text)) == sorted(PLACEHOLDER.findall(wanted)), message


@pytest.mark.parametrize(
    ("cookie", "accepted", "code"),
    [
        (None, "", "en"),
        (None, "zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        (None, "fr, de;q=0.9", "en"),
        (None, "en;q=0.3, zh-TW;q=0.7", "zh"),
        (None, "zh;q=0, en", "en"),
        (None, "zh;q=much", "en"),
        ("zh", "en", "zh"),
        ("tlh", "zh", "zh"),
    ],
)
def test_a_visitor_reads_what_they_chose_or_what_their_browser_prefers(cookie, accepted, code):
    assert choose_language(cookie, accepted, load_languages()).code == code
