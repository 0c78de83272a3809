"""Every task obeys the laws of `testing.tasks`; a new one brings a sample of its own."""

import pytest

from sartor.core.replies import Reply
from sartor.core.types import Examples
from sartor.tasks import TASKS
from sartor.testing.tasks import Sample, laws_of

ROWS = 60


def examples(*targets, roles=("text",)):
    """Rows that take the targets in turn."""
    ids = tuple(f"row {i}" for i in range(ROWS))
    given = tuple(targets[i % len(targets)] for i in range(ROWS))
    return Examples(ids, dict.fromkeys(roles, ids), given)


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
    "text_generation": Sample(
        "text_generation",
        examples(Reply("Hold the button."), Reply("重启路由器。"), Reply("a\n\nb 🙂")),
        [(" ok ", Reply("ok")), ("cafe\u0301", Reply("café")), ("[1, 2]", Reply("[1, 2]"))],
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
