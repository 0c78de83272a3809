"""Every task obeys the laws of `testing.tasks`; a new one brings a sample of its own."""

import pytest

from sartor.core.replies import Reply
from sartor.core.spans import Passage, Span
from sartor.core.texts import Cells
from sartor.core.types import Examples
from sartor.tasks import TASKS
from sartor.testing.tasks import Sample, laws_of

ROWS = 60


def examples(*targets, roles=("text",), texts=None):
    """Rows that take the targets in turn."""
    ids = tuple(f"row {i}" for i in range(ROWS))
    given = tuple(targets[i % len(targets)] for i in range(ROWS))
    return Examples(ids, dict.fromkeys(roles, texts or ids), given)


SAMPLES = {
    "text_classification": Sample(
        "text_classification",
        examples("refund", "invoice", "other"),
        [(" refund ", "refund"), ("a; b", "a; b"), ("cafe\u0301", "café")],
    ),
    "text_pair": Sample(
        "text_pair",
        examples("same", "different", roles=("text", "text_pair")),
        [(" same ", "same"), ("a; b", "a; b")],
    ),
    "ordinal": Sample(
        "ordinal",
        examples("1", "3", "2", "10"),
        [(" 3 ", "3"), ("3.0", "3"), ("３", "3"), ("so-so", "so-so"), ("cafe\u0301", "café")],
    ),
    "text_regression": Sample(
        "text_regression",
        examples(3.5, -2.0, 0.0, 1234.0, 0.25),
        [
            ("3.5", 3.5),
            (" 1,234 ", 1234.0),
            ("1,234.5", 1234.5),
            ("３．５", 3.5),
            ("\u22122", -2.0),
            ("1e-3", 0.001),
            ("+.5", 0.5),
            ("-0", 0.0),
        ],
    ),
    "retrieval": Sample(
        "retrieval",
        examples(("refunds",), ("invoices",), ("opening hours",)),
        [
            ("refunds", ("refunds",)),
            ("refunds; invoices", ("invoices", "refunds")),
            ('["refunds", "invoices", "refunds"]', ("invoices", "refunds")),
            ("[]", ()),
            ("cafe\u0301", ("café",)),
        ],
    ),
    "product": Sample(
        "product",
        examples(("refund",), ("answers-1",), ("thanks",)),
        [
            ("refund", ("refund",)),
            ("answers-1; answers-2", ("answers-1", "answers-2")),
            ('["refund", "thanks", "refund"]', ("refund", "thanks")),
            ("hand_off", ()),
            ("[]", ()),
            ("cafe\u0301", ("café",)),
        ],
    ),
    "recommendation": Sample(
        "recommendation",
        examples(
            ("fractions",),
            ("angles",),
            ("powers",),
            roles=("columns",),
            # What was chosen before is another item than the one that is chosen now.
            texts=tuple(
                Cells.of({"history": [("angles", "powers", "fractions")[i % 3]]})
                for i in range(ROWS)
            ),
        ),
        [
            ("fractions", ("fractions",)),
            ("angles; fractions", ("angles", "fractions")),
            ('["angles"]', ("angles",)),
        ],
    ),
    "mastery": Sample(
        "mastery",
        examples(
            "right",
            "wrong",
            roles=("columns",),
            texts=tuple(
                Cells.of(
                    {
                        "history": [[f"item {(i + n) % 3}", n % 2] for n in range(i % 4)],
                        "item": [f"item {i % 3}"],
                        "skill": ("fractions", "angles", "angles")[i % 3],
                    }
                )
                for i in range(ROWS)
            ),
        ),
        [("1", "right"), (" 0 ", "wrong"), ("TRUE", "right"), ("错", "wrong"), ("１", "right")],
    ),
    "tabular_text": Sample(
        "tabular_text",
        examples("bad", "good"),
        [(" bad ", "bad"), ("a; b", "a; b")],
    ),
    "text_generation": Sample(
        "text_generation",
        examples(Reply("Hold the button."), Reply("重启路由器。"), Reply("a\n\nb 🙂")),
        [(" ok ", Reply("ok")), ("cafe\u0301", Reply("café")), ("[1, 2]", Reply("[1, 2]"))],
    ),
    "translation": Sample(
        "translation",
        examples(Reply("重启路由器。"), Reply("%(count)d 项"), Reply("[1, 2]")),
        [(" 好 ", Reply("好")), ("cafe\u0301", Reply("café"))],
    ),
    "summarization": Sample(
        "summarization",
        examples(Reply("It rained."), Reply("下雨了。"), Reply("a\n\nb")),
        [(" ok ", Reply("ok")), ("[1, 2]", Reply("[1, 2]"))],
    ),
    "multi_label": Sample(
        "multi_label",
        examples(("refund",), ("invoice", "refund"), (), ("invoice", "late", "refund")),
        [
            ("refund", ("refund",)),
            ("refund; invoice", ("invoice", "refund")),
            ("refund|invoice|", ("invoice", "refund")),
            ("refund, invoice", ("invoice", "refund")),
            ('["refund", "invoice", "refund"]', ("invoice", "refund")),
            ("['refund', 'late']", ("late", "refund")),
            ('["a, b", "c; d"]', ("a, b", "c; d")),
            ("[]", ()),
            ("[1, 2]", ("1", "2")),
            ('["cafe\u0301"]', ("café",)),
        ],
    ),
    "question_answering": Sample(
        "question_answering",
        # The contexts are "row 0" to "row 9".
        examples(
            (Passage(0, 3, "row"),),
            (),
            (Passage(0, 5, "row 3"),),
            roles=("question", "context"),
            texts=tuple(f"row {i // 6}" if i % 3 != 2 else "row 3" for i in range(ROWS)),
        ),
        [
            ("[]", ()),
            ('{"text": "two years", "start": 31}', (Passage(31, 40, "two years"),)),
            ('[{"text": "two", "answer_start": 3}]', (Passage(3, 6, "two"),)),
            (
                '{"text": ["a", "b c"], "answer_start": [4, 1]}',
                (Passage(4, 5, "a"), Passage(1, 4, "b c")),
            ),
            ('[[2, 4, "年后"], [2, 4, "年后"]]', (Passage(2, 4, "年后"),)),
        ],
    ),
    "token_classification": Sample(
        "token_classification",
        # The texts are "row 0" to "row 59".
        examples(
            (Span(0, 3, "word"), Span(4, 5, "number")),
            (Span(0, 3, "word"),),
            (),
            (Span(0, 5, "place"),),
            texts=tuple(f"row {i % 10}" for i in range(ROWS)),
        ),
        [
            ("[]", ()),
            ('{"entities": []}', ()),
            ('[{"start": 4, "end": 5, "label": " number "}]', (Span(4, 5, "number"),)),
            ('[[4, 5, "number"], [0, 3, "word"]]', (Span(0, 3, "word"), Span(4, 5, "number"))),
            ("[{'start': 0, 'end': 3, 'entity': 'word'}]", (Span(0, 3, "word"),)),
            ('[[0, 3.0, "cafe\u0301"]]', (Span(0, 3, "café"),)),
        ],
    ),
}


def test_every_task_has_a_sample():
    assert set(SAMPLES) == set(TASKS.names())


@pytest.mark.parametrize(
    ("task", "law"),
    [(task, law) for task in TASKS.names() for law in laws_of(task)],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_law(task, law):
    law(SAMPLES[task])
