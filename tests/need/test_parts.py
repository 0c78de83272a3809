"""The parts of a product in a need file: what is wrong is told by line, before a bundle is read."""

import pytest

from sartor.core.errors import NeedError
from sartor.need.file import parse_need
from sartor.need.graph import deciding, graph_faults, hands_on, label_faults, order_of
from sartor.need.parts import Part
from sartor.search.judging import roles_of

HEAD = """name: desk
task: product
data: {train: rows.csv, text: message, label: outcome}
accept:
  - end_to_end >= 0.5
parts:
"""
GOOD = """  intent:
    need: intent.yaml
    then:
      - {when: [refund, order], go: answers}
      - {when: late, below: 0.9, hand_off: not sure that it is late}
      - {answer: intent}
  answers:
    bundle: ../answers
    reads: history
"""
WORDS = """  find:
    bundle: ../answers
    reads: history
    then: {go: order}
  order:
    bundle: ../relevance
    reads: [history, find]
    documents: 5
    relevant: 1
    then:
      - {below: 0.5, hand_off: nothing answers this}
      - {answer: order, reply: writer}
  writer:
    bundle: ../replies
    reads: [history, order]
    documents: 2
"""


def faults(parts: str) -> list[tuple[int, str, str]]:
    with pytest.raises(NeedError) as refused:
        parse_need(HEAD + parts, "need.yaml", roles_of)
    return [(f.line, f.what, f.fix) for f in refused.value.faults]


def test_parts_are_read_in_their_order_with_what_follows():
    need = parse_need(HEAD + GOOD, "need.yaml", roles_of)
    assert need.parts is not None
    assert list(need.parts) == ["intent", "answers"]
    first = need.parts["intent"]
    assert first.then[0].when == ("refund", "order")
    assert first.leads_to() == ["answers"]
    assert need.parts["answers"].cases("answers")[0].answer == "answers"
    again = need.as_mapping()
    assert "line" not in str(again["parts"])
    assert again["parts"]["answers"] == {"bundle": "../answers", "reads": "history"}


@pytest.mark.parametrize(
    ("before", "after", "line", "words", "fix"),
    [
        ("go: answers", "go: answer", 10, "no part is called 'answer'", "'answers'"),
        ("go: answers", "goes: answers", 10, "unknown key 'goes'", "'go'"),
        ("reads: history", "reads: histroy", 13, "reads 'histroy'", "'history'"),
        ("need: intent.yaml", "need: a.yaml\n    bundle: b", 7, "both a bundle", "one of them"),
        ("    bundle: ../answers\n", "", 13, "neither a bundle", "one of them"),
        ("below: 0.9, hand_off: n", "hand_off: n", 0, "", ""),
        ("go: answers}", "go: answers, say: Hello}", 10, "says go and say", "go: answers"),
        (
            "      - {answer: intent}\n",
            "      - {answer: answers}\n",
            12,
            "not every row",
            "intent",
        ),
        ("    reads: history", "    then: {go: intent}", 13, "lead back to 'intent'", "go: intent"),
        ("go: answers", "answer: intent", 13, "no row ever reaches the part 'answers'", "take"),
        ("{when: late, below: 0.9, hand_off: n", "{hand_off: n", 12, "never reached", "last"),
        ("below: 0.9", "below: 1.5", 11, "below", "correct"),
        ("  answers:\n", "  text:\n", 13, "cannot be the name", "letter"),
    ],
)
def test_what_is_wrong_with_a_part_is_told_with_its_line(before, after, line, words, fix):
    assert before in GOOD
    changed = GOOD.replace(before, after)
    if not words:
        parse_need(HEAD + changed, "need.yaml", roles_of)
        return
    if "text:" in after:
        changed = changed.replace("go: answers", "go: text")
    found = faults(changed)
    assert any(at == line and words in what and fix in how for at, what, how in found), found


def test_parts_may_read_put_in_order_and_say_what_others_found():
    need = parse_need(HEAD + WORDS, "need.yaml", roles_of)
    parts = need.parts
    assert parts is not None
    find, order, writer = parts.values()
    assert (order.ranks, order.relevant, order.most) == ("find", "1", 5)
    assert (find.ranks, find.most, writer.most) == (None, 1, 2)
    assert order.model_copy(update={"documents": None}).most == 10
    assert order_of(parts) == ["find", "order", "writer"]
    assert hands_on("find", parts)
    assert not hands_on("order", parts)
    assert deciding(parts) == {"order"}
    again = need.as_mapping()["parts"]
    assert (again["find"]["reads"], again["order"]["reads"]) == ("history", ["history", "find"])
    assert {name: Part.model_validate(one) for name, one in again.items()} == {
        name: part.model_copy(
            update={"line": 0, "then": tuple(c.model_copy(update={"line": 0}) for c in part.then)}
        )
        for name, part in parts.items()
    }


@pytest.mark.parametrize(
    ("before", "after", "line", "words", "fix"),
    [
        ("reply: writer", "reply: writre", 18, "no part is called 'writre'", "'writer'"),
        ("answer: order, reply", "say: Hello, reply", 18, "reply without answer", "answer: order"),
        ("[history, order]", "[history, orders]", 19, "reads 'orders'", "'order'"),
        ("[history, order]", "[history, history]", 19, "the same twice", "take one"),
        ("[history, order]", "[history, writer]", 19, "writes when all is decided", "was found"),
        ("then: {go: order}", "then: {go: writer}", 10, "words are no outcome", "reply: writer"),
        ("    documents: 2", "    then: {answer: order}", 19, "nothing follows", "take its `then`"),
        ("answer: order, reply", "answer: writer, reply", 18, "words are no outcome", "outcome"),
        ("reads: [history, find]", "reads: find", 11, "puts documents in order", "[text, answers]"),
        ("reads: [history, order]", "reads: history", 19, "reads none, but history", "documents"),
        ("[history, order]", "[history, find]", 0, "", ""),
        ("documents: 5", "documents: 500", 14, "documents", "correct"),
        ("    reads: history", "    reads: [history, order]", 7, "not every row", "history"),
    ],
)
def test_what_is_wrong_with_words_and_order_is_told_with_its_line(before, after, line, words, fix):
    assert before in WORDS
    changed = WORDS.replace(before, after)
    if not words:
        parse_need(HEAD + changed, "need.yaml", roles_of)
        return
    found = faults(changed)
    assert any(at == line and words in what and fix in how for at, what, how in found), found


def test_what_another_way_has_not_found_cannot_be_read():
    parts = {
        "intent": Part(
            bundle="a",
            then=(
                {"when": "x", "go": "find"},
                {"answer": "intent", "reply": "writer"},
            ),
        ),
        "find": Part(bundle="b", then=({"answer": "find", "reply": "writer"},)),
        "writer": Part(bundle="c", reads=("history", "find")),
    }
    (fault,) = graph_faults(parts)
    assert "not every row that reaches 'writer' has an answer of 'find'" in fault.what
    parts["writer"] = Part(bundle="c", reads=("history", "intent"))
    assert graph_faults(parts) == []


def test_only_a_product_has_parts():
    other = HEAD.replace("task: product", "task: text_classification") + GOOD
    with pytest.raises(NeedError, match="unknown key 'parts'"):
        parse_need(other.replace("end_to_end", "accuracy"), "need.yaml", roles_of)
    with pytest.raises(NeedError, match="parts is missing"):
        parse_need(HEAD.replace("parts:\n", ""), "need.yaml", roles_of)


def test_a_part_comes_behind_all_that_lead_to_it():
    parts = {
        "a": Part(bundle="a", then=({"when": "x", "go": "c"}, {"go": "b"})),
        "c": Part(bundle="c"),
        "b": Part(bundle="b", then=({"go": "c"},)),
    }
    assert not graph_faults(parts)
    assert order_of(parts) == ["a", "b", "c"]


def test_labels_that_no_case_decides_are_named():
    def told(*cases: dict) -> list[str]:
        parts = {"intent": Part(bundle="a", then=cases)}
        return [fault.what for fault in label_faults(parts, {"intent": ["refund", "late"]})]

    whole = {"answer": "intent"}
    assert told(whole) == []
    assert told({"when": ["refund", "late"], "answer": "intent"}) == []
    assert "open where the answer is late" in told({"when": "refund", "answer": "intent"})[0]
    assert "open" in told({"when": "refund", "below": 0.5, "hand_off": "-"})[0]
    assert "no label 'refnud'" in told({"when": "refnud", "answer": "intent"}, whole)[0]
    twice = {"when": "refund", "answer": "intent"}
    assert "decided by the case" in told(twice, twice, whole)[0]
    documents = {"answers": Part(bundle="a", then=({"when": "x", "answer": "answers"},))}
    assert "does not choose" in label_faults(documents, {"answers": None})[0].what
