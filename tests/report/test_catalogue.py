"""The Chinese catalogue says everything that the sources ask for, and nothing breaks in it."""

import ast
import re
import string
from importlib.resources import files
from pathlib import Path

import pytest
from babel.messages.pofile import read_po
from jinja2.ext import babel_extract

import sartor.report
from sartor.report.page import render
from sartor.report.words import known_language, translator
from tests.report.samples import full_result

ROOT = Path(sartor.report.__file__).parent
OTHERS = [path for path in ROOT.parent.rglob("*.py") if ROOT not in path.parents]


def asked_for() -> set[str]:
    """Messages of the Python sources and of the templates."""
    found: set[str] = set()
    for path in ROOT.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                if name in ("_", "translate"):
                    found.add(str(node.args[0].value))
    for path in (ROOT / "templates").glob("*.html"):
        with path.open("rb") as file:
            options = {"trim_blocks": "true", "lstrip_blocks": "true", "silent": "false"}
            found |= {str(message) for _, _, message, _ in babel_extract(file, ("_",), (), options)}
    return found


def said_elsewhere() -> set[str]:
    """Phrases of other stages: given to `Phrase` directly, or chosen first as a `message`."""
    found: set[object] = set()
    for path in OTHERS:
        text = path.read_text("utf-8")
        for node in ast.walk(ast.parse(text)) if "Phrase(" in text else ():
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Phrase":
                found |= {a.value for a in node.args[:1] if isinstance(a, ast.Constant)}
            elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
                names = {getattr(target, "id", "") for target in node.targets}
                found |= {node.value.value} if "message" in names else set()
    return {str(message) for message in found}


def entries() -> dict[str, str]:
    with (files("sartor.report") / "locale" / "zh.po").open("rb") as file:
        catalogue = read_po(file)
    return {str(message.id): str(message.string) for message in catalogue if message.id}


def test_every_message_has_a_chinese_wording():
    asked, said = asked_for(), said_elsewhere()
    assert len(asked) > 100, "the extraction found too little; the test would be vacuous"
    assert len(said) > 25, "the extraction found too little; the test would be vacuous"
    asked |= said
    assert asked - {key for key, wording in entries().items() if wording} == set()


def test_every_wording_is_asked_for_or_is_a_remark_of_another_stage():
    remarks = set(entries()) - asked_for() - said_elsewhere()
    written = " ".join(path.read_text("utf-8") for path in OTHERS)
    source = re.sub(r"\{[^{}]*\}|\d+", "#", written)
    assert {remark for remark in remarks if remark not in source} == set()


@pytest.mark.parametrize(("english", "chinese"), entries().items())
def test_a_wording_has_the_placeholders_of_its_message(english, chinese):
    def names(text: str) -> list[str]:
        return sorted(name for _, name, _, _ in string.Formatter().parse(text) if name)

    assert names(english) == names(chinese)


def test_the_reader_of_the_product_sees_what_babel_sees():
    say = translator("zh")
    assert {english: say(english) for english in entries()} == entries()


def test_an_unknown_language_is_english():
    assert known_language("tlh") == "en"
    assert render(full_result(), language="tlh") == render(full_result(), language="en")


def test_the_chinese_page_keeps_no_english_heading():
    english, chinese = render(full_result()), render(full_result(), language="zh")
    assert '<html lang="zh-Hans">' in chinese
    for heading in ("Next steps", "Learning curves", "Worst errors", "not measured", "unproven"):
        assert f">{heading}<" in english or heading in english
        assert f">{heading}<" not in chinese


@pytest.mark.parametrize(
    "path", sorted(ROOT.parent.rglob("locale/*.po")), ids=lambda path: path.parent.parent.name
)
def test_gettexts_tools_accept_every_catalogue(path):
    """What `make messages` runs: a "95 % interval" in a message is a printf format to them."""
    with path.open("rb") as file:
        catalogue = read_po(file, locale=path.stem)
    assert len(catalogue) > 10
    assert [(message.id, errors) for message, errors in catalogue.check()] == []
