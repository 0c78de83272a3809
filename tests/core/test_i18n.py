"""English is the source; a catalogue lies in the package as text and is read when asked for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sartor.core.i18n import catalogue, languages, negotiate, sentences

PO = r"""# Chinese.
msgid ""
msgstr "Content-Type: text/plain; charset=UTF-8\n"

#: page.py:3
msgid "Wrong"
msgstr "错"

msgid ""
"A long message "
"in \"two\" parts.\n"
msgstr ""
"一条\"很长\"的"
"消息。\n"

msgid "{n} of {all} rows"
msgstr "{all} 行中的 {n} 行"

msgid "{n} of {all} new rows"
msgstr "{all} 行新数据中的 {n} 行"

msgid "{what}, or nothing."
msgstr "{what}，或什么都没有。"

msgid "Not translated yet"
msgstr ""
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    name = f"spoken_{tmp_path.name}"
    folder = tmp_path / name
    (folder / "locale").mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "locale" / "zh.po").write_text(PO, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def test_a_message_reads_in_the_language_asked_for(package):
    say = catalogue(package, "zh")
    assert say("Wrong") == "错"
    assert say('A long message in "two" parts.\n') == '一条"很长"的消息。\n'


@pytest.mark.parametrize("message", ["Not in the catalogue", "Not translated yet"])
def test_a_message_without_a_translation_stays_english(package, message):
    assert catalogue(package, "zh")(message) == message


@pytest.mark.parametrize(
    ("sentence", "said"),
    [
        ("Wrong", "错"),
        ("3 of 7 rows", "7 行中的 3 行"),
        ("3 of 7 new rows", "7 行新数据中的 3 行"),
        ("3 of 7 rows, or nothing.", "7 行中的 3 行，或什么都没有。"),
        ("somebody's words, or nothing.", "somebody's words, or nothing."),
        ("Wrong rows", "Wrong rows"),
        ("{all} of {n} rows", "{n} 行中的 {all} 行"),
    ],
)
def test_a_sentence_is_known_by_what_stands_between_its_gaps(package, sentence, said):
    assert sentences(package, "zh")(sentence) == said
    assert sentences(package, "en")(sentence) == sentence


@given(st.text(alphabet="of rows,n.{}7 "))
def test_any_sentence_is_said_or_left_alone(text):
    say = sentences("sartor.serve", "zh")
    assert say(text) == text or any(ord(letter) > 0x3000 for letter in say(text))


@pytest.mark.parametrize("language", ["en", "tlh", "", "../zh", "zh.po"])
def test_english_and_unknown_languages_say_the_message_itself(package, language):
    assert catalogue(package, language)("Wrong") == "Wrong"


def test_the_languages_are_the_catalogues_that_lie_there(package):
    assert languages(package) == ("en", "zh")
    assert languages("sartor.core") == ("en",)


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("en-GB,zh;q=0.5", "en"),
        ("fr,de;q=0.9", "en"),
        ("fr, ZH;q=0.2", "zh"),
        ("zh;q=0,en;q=0.1", "en"),
        ("", "en"),
        (";;;,,,q=", "en"),
        ("zh;q=high", "zh"),
    ],
)
def test_the_best_liked_known_language_is_chosen(accepted, language):
    assert negotiate(accepted, ("en", "zh")) == language


@given(st.text())
def test_any_header_gives_a_known_language(accepted):
    assert negotiate(accepted, ("en", "zh")) in ("en", "zh")
