"""Tags of words to runs: every scheme in use, and what is none."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sartor.tasks import Unreadable
from sartor.tasks._target.tags import begins_alike, is_tag, parted, runs, strings_of


@pytest.mark.parametrize(
    ("tags", "wanted"),
    [
        ("O O", []),
        ("B-PER I-PER O B-LOC", [(0, 2, "PER"), (3, 4, "LOC")]),
        ("B-PER B-PER", [(0, 1, "PER"), (1, 2, "PER")]),
        ("I-PER I-PER O I-LOC B-LOC", [(0, 2, "PER"), (3, 4, "LOC"), (4, 5, "LOC")]),
        ("I-PER I-LOC", [(0, 1, "PER"), (1, 2, "LOC")]),
        ("B-PER E-PER S-LOC O", [(0, 2, "PER"), (2, 3, "LOC")]),
        ("B-PER I-PER L-PER U-LOC", [(0, 3, "PER"), (3, 4, "LOC")]),
        ("B-x-y I-x-y", [(0, 2, "x-y")]),
    ],
)
def test_tags_are_read(tags, wanted):
    assert runs(tags.split()) == wanted


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ("B-PER X-PER", "'X-PER' is no tag"),
        ("PER", "'PER' is no tag"),
        ("B-", "'B-' is no tag"),
        ("3", "'3' is no tag"),
        ("B-PER O S-LOC", "'PER' that word 1 begins has no end"),
        ("O E-PER", "word 2 has the tag E-PER"),
        ("B-PER E-LOC", "'PER' that word 1 begins has no end"),
        ("S-LOC I-LOC E-LOC", "word 2 has the tag I-LOC"),
    ],
)
def test_tags_that_form_no_entities_are_refused(tags, said):
    with pytest.raises(Unreadable, match=re.escape(said)) as told:
        runs(tags.split())
    assert said in told.value.what


ENTITIES = st.lists(st.tuples(st.sampled_from("OAB"), st.integers(1, 3)), max_size=6)


@given(ENTITIES)
def test_every_scheme_says_the_same(parts):
    bio, bioes, wanted = [], [], []
    for label, length in parts:
        if label == "O":
            bio += ["O"] * length
            bioes += ["O"] * length
            continue
        wanted.append((len(bio), len(bio) + length, label))
        bio += [f"B-{label}", *[f"I-{label}"] * (length - 1)]
        inner = [f"B-{label}", *[f"I-{label}"] * (length - 2), f"E-{label}"]
        bioes += [f"S-{label}"] if length == 1 else inner
    assert runs(bio) == runs(bioes) == wanted


def test_a_file_that_begins_entities_in_two_ways_is_told_where():
    assert begins_alike([["B-A", "I-A"], ["O", "B-A"]]) is None
    assert begins_alike([["I-A", "B-A"], ["O", "I-A"]]) is None
    assert begins_alike([["B-A"], ["B-A"], ["O", "I-A"]]) == 2
    assert begins_alike([["I-A"], ["B-A"], ["O", "I-A"]]) == 1
    assert begins_alike([["S-A", "I-B"]]) is None


def test_lists_of_strings_are_told_from_other_cells():
    assert strings_of('["B-A", "O"]') == ["B-A", "O"]
    assert strings_of("[1]") is None
    assert strings_of("B-A O") is None
    assert strings_of("[") is None
    assert is_tag("O")
    assert not is_tag("positive")
    assert parted("l-x") == ("E", "x")
