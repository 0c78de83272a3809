"""Every error says what to do next, and the tree in the docstring is the tree in the code."""

import pickle
import re

import pytest

import sartor.core.errors as errors
from sartor.core.errors import Fault, NeedError, RequestError, SartorError
from sartor.core.near import near_miss

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, SartorError)
]


def example(kind: type[SartorError]) -> SartorError:
    if kind is NeedError:
        return NeedError("need.yaml", [Fault(3, "wrong", "right it"), Fault(0, "gone", "add it")])
    if kind is RequestError:
        return RequestError("too big", fix="send less", status=413)
    return kind("row 3: 'x' is odd.", fix="correct row 3.")


@pytest.mark.parametrize("kind", KINDS)
def test_the_message_holds_the_fault_and_the_fix(kind):
    error = example(kind)
    assert error.what.rstrip(".") in str(error)
    assert error.fix in str(error)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not NeedError])
def test_an_error_without_a_fix_cannot_be_made(kind):
    with pytest.raises(TypeError):
        kind("wrong")


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_crosses_a_process_border_whole(kind):
    error = example(kind)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_the_drawn_tree_is_the_tree():
    drawn = set(re.findall(r"─ (\w+)", errors.__doc__ or ""))
    assert drawn == {kind.__name__ for kind in KINDS if kind is not SartorError}


def test_a_need_error_shows_every_fault_with_its_place():
    shown = str(example(NeedError))
    assert "need.yaml has 2 faults." in shown
    assert "need.yaml, line 3: wrong" in shown
    assert "need.yaml: gone" in shown


@pytest.mark.parametrize(
    ("word", "known", "fix"),
    [
        ("lroa", ["head", "lora", "full"], "did you mean 'lora'?"),
        ("REFUND", ["refund", "other"], "did you mean 'refund'?"),
        ("退款吗", ["退款", "发票"], "did you mean '退款'?"),
        ("xyz", ["head", "lora"], "use one of head, lora."),
        ("xyz", [], "remove it: nothing is known under that heading."),
    ],
)
def test_a_near_miss_is_shown_or_the_list(word, known, fix):
    assert near_miss(word, known) == fix


def test_a_long_list_is_cut_and_counted():
    fix = near_miss("xyz", [f"label{i}" for i in range(20)])
    assert fix.endswith("label11 … (8 more).")
