"""A bundle that is too large or too slow gets a step that can be taken."""

from dataclasses import replace

import pytest

from sartor.core.types import Backbone
from sartor.models.catalogue import StarterState
from sartor.need.file import parse_need
from sartor.search import lighter
from sartor.search.judging import roles_of

NEED = """
name: reviews
task: text_classification
data: {train: reviews.csv, text: text, label: label}
accept: [size_mb <= 5]
"""
SMALL = StarterState("small", "", "MIT", ("en",), 20_000_000, True, "")
WIDE = StarterState("wide", "", "MIT", ("*",), 100_000_000, True, "")
USED = Backbone("huge", "folder", "", "", "MIT", ("*",), 300_000_000, 24, 1024)


def step(monkeypatch, starters, used=USED, languages=None, need=NEED):
    monkeypatch.setattr(lighter, "list_starters", lambda: starters)
    asked = parse_need(need, "need.yaml", roles_of)
    return lighter.smaller_backbone(used, asked, languages or {"en": 1.0}, "need.yaml", 90.0)


def test_the_smallest_starter_that_knows_the_language_is_named(monkeypatch):
    found = step(monkeypatch, [WIDE, SMALL])
    assert "Start from small, which has 20 million weights where huge has 300" in found.what
    assert "backbones: [small]" in found.what
    assert "does not know" not in found.what
    assert (found.command, found.seconds) == ("sartor run need.yaml", 90.0)
    assert "backbones: [wide]" in step(monkeypatch, [WIDE, SMALL], languages={"zh": 1.0}).what


def test_a_starter_that_lacks_the_language_is_named_with_a_warning(monkeypatch):
    used = replace(USED, name="wide", parameters=WIDE.parameters)
    found = step(monkeypatch, [WIDE, SMALL], used, {"zh": 1.0})
    assert "backbones: [small]" in found.what
    assert "does not know the languages of all these texts" in found.what


@pytest.mark.parametrize(
    "starter",
    [
        replace(SMALL, installed=False),
        replace(SMALL, parameters=USED.parameters),
        replace(SMALL, licence="GPL-3.0-only"),
    ],
)
def test_a_starter_that_would_not_do_is_not_named(monkeypatch, starter):
    need = NEED + "prefer: {licences: [MIT]}\n"
    found = step(monkeypatch, [starter], need=need)
    assert "fewer weights than huge (300 million)" in found.what
    assert "small" not in found.what
