"""Which bundles may be parts, what they answer between them, and which rows they have seen."""

from pathlib import Path

import polars as pl
import pytest

from sartor.bundle import Bundle, Learnt, write_bundle
from sartor.core.errors import BundleError, NeedError
from sartor.core.types import Examples
from sartor.data.feedback import merge_feedback
from sartor.data.prepare import Prepared, columns_of
from sartor.data.table import FILE, ROW, SPLIT
from sartor.need.file import parse_need
from sartor.need.model import Need
from sartor.search.composing import _fresh
from sartor.search.judging import roles_of
from sartor.search.parts import assembled
from sartor.tasks import TASKS
from tests.composed import BASE, answers, desk, intent, reader, relevance, replies
from tests.serve.conftest import manifest_of, write_parts

NEED = """name: desk
task: product
data: {train: rows.csv, text: message, label: outcome}
accept: [end_to_end >= 0.5]
parts:
  intent:
    bundle: one
    then:
      - {when: refund, go: answers}
      - {when: other, %s}
      - {answer: intent}
  answers: {bundle: two}
"""


def need(end: str = "hand_off: nothing we sell") -> Need:
    return parse_need(NEED % end, "need.yaml", roles_of)


def found(**bundles) -> dict[str, dict[str, str]]:
    return {n: {"path": str(b.folder), "id": b.manifest.id} for n, b in bundles.items()}


def test_the_outcomes_are_those_that_some_case_gives(tmp_path: Path):
    two = {"intent": intent(tmp_path / "one"), "answers": answers(tmp_path / "two")}
    assembly = assembled(need(), "need.yaml", found(**two))
    assert assembly.outcomes == ("invoice", *BASE)
    assert assembly.parts["intent"].bundle == two["intent"].manifest.id
    more = assembled(need("say: We sell nothing of that kind."), "need.yaml", found(**two))
    assert more.outcomes == ("other", "invoice", *BASE)


def test_a_bundle_that_cannot_be_a_part_is_refused_by_name(tmp_path: Path):
    two = {"intent": intent(tmp_path / "one"), "answers": desk(tmp_path / "two")}
    with pytest.raises(NeedError, match="is a product itself"):
        assembled(need(), "need.yaml", found(**two))
    folder = tmp_path / "pairs"
    folder.mkdir()
    read = {"text": "text", "text_pair": "text"}
    pairs = manifest_of().model_copy(update={"task": "text_pair", "inputs": read})
    made = write_bundle(folder / "bundle", pairs, write_parts(folder, 4.0), "name: pairs\n")
    with pytest.raises(NeedError, match="reads text, text_pair, and the part reads text"):
        assembled(need(), "need.yaml", found(intent=two["intent"], answers=made))


WORDS = """name: desk
task: product
data: {train: rows.csv, text: message, label: outcome}
accept:
  - end_to_end >= 0.5
  - rouge_l[part=writer] >= 0.2
parts:
  find:
    bundle: a
    then: {go: order}
  order:
    bundle: b
    reads: [text, find]
    documents: 2
    relevant: refund
    then: {answer: order, reply: writer}
  writer:
    bundle: c
    reads: [history, order]
"""


def worded(folder: Path) -> dict[str, Bundle]:
    made = {"find": answers(folder / "a"), "order": relevance(folder / "b")}
    return {**made, "writer": replies(folder / "c", {"money": "It comes."})}


def test_words_are_no_outcome_and_documents_in_order_are(tmp_path: Path):
    assembly = assembled(parse_need(WORDS, "n", roles_of), "n", found(**worded(tmp_path)))
    assert assembly.outcomes == tuple(BASE)
    assert "→ writer" in assembly.words()


@pytest.mark.parametrize(
    ("before", "after", "line", "words", "fix"),
    [
        ("relevant: refund", "relevant: refnud", 11, "no label 'refnud'", "'refund'"),
        ("documents: 2", "documents: 4", 11, "reads 4 documents, and 3 are listed", "documents: 3"),
        ("[history, order]", "[order, history]", 17, "replies to what was said", "[history"),
        ("[part=writer]", "[part=wirter]", 6, "no part is called 'wirter'", "'writer'"),
        ("rouge_l[part=writer]", "rouge_l[part=order]", 6, "writes nothing", "part_accuracy"),
        ("rouge_l[part=writer]", "part_accuracy[part=writer]", 6, "writes", "rouge_l"),
    ],
)
def test_what_a_bundle_cannot_do_in_its_place_is_told_with_its_line(
    tmp_path: Path, before, after, line, words, fix
):
    assert before in WORDS
    changed = parse_need(WORDS.replace(before, after), "n", roles_of)
    with pytest.raises(NeedError) as refused:
        assembled(changed, "n", found(**worded(tmp_path)))
    told = [(f.line, f.what, f.fix) for f in refused.value.faults]
    assert any(at == line and words in what and fix in how for at, what, how in told), told


def test_a_bundle_in_the_place_of_another_is_refused_by_what_it_does(tmp_path: Path):
    def refused(**changed: Bundle) -> str:
        with pytest.raises(NeedError) as told:
            assembled(parse_need(WORDS, "n", roles_of), "n", found(**{**given, **changed}))
        return "; ".join(fault.what for fault in told.value.faults)

    given = worded(tmp_path)
    label = intent(tmp_path / "label")
    assert "replies in words, which are no outcome" in refused(find=given["writer"])
    assert "is named under reply, and writes none" in refused(writer=label)
    assert "'find' finds none" in refused(find=label)
    quotes = reader(tmp_path / "quotes")
    assert "quotes what it reads, which is no outcome" in refused(order=quotes)
    assembled(parse_need(WORDS, "n", roles_of), "n", found(**{**given, "writer": quotes}))
    turned = parse_need(WORDS.replace("[history, order]", "[order, history]"), "n", roles_of)
    with pytest.raises(NeedError, match="reads question, context, and the part reads order, h"):
        assembled(turned, "n", found(**{**given, "writer": quotes}))
    assert "reads text, and the part reads text, find" in refused(order=label)


def test_a_bundle_that_changed_since_the_run_began_is_refused(tmp_path: Path):
    two = found(intent=intent(tmp_path / "one"), answers=answers(tmp_path / "two"))
    two["answers"]["id"] = "0" * 64
    with pytest.raises(BundleError, match="has changed since this run began"):
        assembled(need(), "need.yaml", two)


def test_what_a_user_said_was_right_is_a_row_of_the_next_need():
    told = need().data.model_copy(update={"labels": ["invoice", *BASE]})
    columns = columns_of(told, ("text",), TASKS.get("product")().target)
    frame = pl.DataFrame(
        {
            "message": ["the bill"],
            "outcome": ["invoice"],
            FILE: ["rows.csv"],
            ROW: [1],
            SPLIT: [None],
        }
    )
    said = [
        {"text": "my money", "label": "refunds"},
        {"text": "the bill", "label": "hand_off"},
        {"text": "what", "label": "no such outcome"},
    ]
    merged = merge_feedback(frame, said, columns=columns)
    assert (merged.added, len(merged.relabelled), len(merged.refused)) == (1, 1, 1)
    assert merged.frame["outcome"].to_list() == ["hand_off", "refunds"]


def test_rows_that_a_part_learnt_from_are_left_out_and_listed(tmp_path: Path):
    folder = tmp_path / "one"
    folder.mkdir()
    manifest, learnt = manifest_of("intent"), Learnt.of(["seen 0", "seen 1"])
    parts = write_parts(folder, 4.0)
    one = write_bundle(folder / "bundle", manifest, parts, "name: intent\n", learnt)
    assembly = assembled(need(), "need.yaml", found(intent=one, answers=answers(tmp_path / "two")))

    def rows(*ids: str) -> Examples:
        places = {FILE: ("rows.csv",) * len(ids), ROW: tuple(range(1, len(ids) + 1))}
        return Examples(ids, {"text": ids}, (("invoice",),) * len(ids), places)

    kept = _fresh(Prepared(rows("a", "seen 0"), rows("b"), rows("seen 1", "c"), (), {}), assembly)
    assert [side.ids for side in (kept.train, kept.validation, kept.test)] == [
        ("a",),
        ("b",),
        ("c",),
    ]
    assert [(c.row, c.reason, c.detail) for c in kept.changes] == [
        (2, "learnt by a part", "by intent"),
        (1, "learnt by a part", "by intent"),
    ]
