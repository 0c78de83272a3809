"""Less is read of long texts, as long as the validation rows lose next to nothing by it."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from sartor.core.errors import NothingToShrink
from sartor.core.events import Event, Note
from sartor.core.texts import Cells
from sartor.core.types import Examples
from sartor.shrink.api import GRAPH, LENGTH, TOKENIZER, Bench, Form
from sartor.shrink.compressors.shorten_texts import ShortenTexts
from sartor.shrink.parity import Parity
from tests.serve.conftest import parts
from tests.shrink.runs import BENCH

__all__ = ["parts"]

MOST = 128


@pytest.fixture
def form(parts: dict[str, Path]) -> Form:
    return Form(parts["model.onnx"], parts["tokenizer.json"])


def bench(*lengths: int, lost: Mapping[int, float] | None = None, base: float = 0.0) -> Bench:
    """Training texts of so many words, and what is lost at each number of tokens."""
    asked = {} if lost is None else lost

    def compares(form: Form) -> Parity:
        drop = base + (0.0 if form.max_length is None else asked.get(form.max_length, 0.0))
        return Parity(0.9, drop, drop + 0.01, 0.1, 400, 0.02)

    texts = tuple("money " * length for length in lengths)
    rows = Examples(tuple(map(str, range(len(texts)))), {"text": texts}, ("refund",) * len(texts))
    return replace(BENCH, max_length=MOST, train=rows, compares=compares)


def shortened(form: Form, to: Path, bench: Bench, settings: ShortenTexts | None = None) -> Form:
    to.mkdir()
    (settings or ShortenTexts()).compress(form, to, bench)
    return form.left_in(to)


def test_the_fewest_tokens_that_lose_nothing_are_read(form: Form, tmp_path: Path):
    told: list[Event] = []
    made = shortened(
        form, tmp_path / "to", replace(bench(*[300] * 10, 40, lost={32: 0.011}), emit=told.append)
    )
    assert made.max_length == 48, "the next of 96, 64, 48 and 32 loses more than a point"
    assert made.graph.read_bytes() == form.graph.read_bytes()
    assert made.tokenizer == form.tokenizer
    assert {path.name for path in (tmp_path / "to").iterdir()} == {GRAPH, LENGTH}
    (note,) = [each.text for each in told if isinstance(each, Note)]
    assert "48 tokens of a text are read in place of 128" in note
    assert "cuts 91% of the training texts (91% before)" in note


def test_what_is_lost_is_held_against_the_form_that_is_shortened(form: Form, tmp_path: Path):
    taught = bench(*[300] * 10, base=0.03, lost={32: 0.011})
    assert shortened(form, tmp_path / "student", taught).max_length == 48
    close = bench(*[300] * 10, base=0.005, lost=dict.fromkeys((64, 48, 32), 0.008))
    assert shortened(form, tmp_path / "close", close).max_length == 96, "parity would break"
    lucky = bench(*[300] * 10, base=-0.02, lost={64: 0.025, 48: 0.025, 32: 0.035})
    assert shortened(form, tmp_path / "lucky", lucky).max_length == 48, "as good as the whole model"


def test_once_more_goes_on_from_there(form: Form, tmp_path: Path):
    once = shortened(form, tmp_path / "one", bench(*[300] * 10, lost={32: 0.02}))
    again = shortened(once, tmp_path / "two", bench(*[300] * 10))
    assert (once.max_length, again.max_length) == (48, 16)


def test_lengths_are_of_texts_as_they_are_read(form: Form, tmp_path: Path):
    texts = ("money " * 5, "money " * 90, "money " * 90)
    pairs = tuple(zip(texts, texts, strict=True))
    rows = Examples(("0", "1", "2"), {"text": texts, "other": texts}, ("refund",) * 3)
    assert rows.texts == pairs
    of_two = replace(bench(5), train=rows)
    assert shortened(form, tmp_path / "pairs", of_two).max_length == 32, "a quarter of 128"
    cells = tuple(Cells.of({"age": 3}) for _ in texts)
    beside = replace(rows, inputs={"text": texts, "columns": cells})
    alone = replace(rows, inputs={"columns": cells})
    found = shortened(form, tmp_path / "beside", replace(of_two, train=beside))
    assert found.max_length == 24, "a quarter of 90, in eights"
    with pytest.raises(NothingToShrink, match="0 tokens or fewer"):
        shortened(form, tmp_path / "alone", replace(of_two, train=alone))


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (bench(*[16] * 30), "16 tokens or fewer"),
        (bench(*[16] * 30, 100), "16 tokens or fewer"),
        (bench(), "0 tokens or fewer"),
        (bench(*[300] * 5, lost={96: 0.012}), "loses too much. 96 tokens: 90.0% of 400 answers"),
        (replace(bench(*[300] * 5), whole=True), "without an answer"),
        (replace(bench(*[300] * 5), compares=None), "nothing to tell"),
    ],
)
def test_where_there_is_nothing_to_leave_out_it_says_so(
    form: Form, tmp_path: Path, made: Bench, says: str
):
    with pytest.raises(NothingToShrink) as caught:
        shortened(form, tmp_path / "to", made)
    assert says in caught.value.what
    assert caught.value.fix
    assert list((tmp_path / "to").iterdir()) == []


def test_the_tokenizer_stays_and_cuts_nothing_itself(form: Form, tmp_path: Path):
    shortened(form, tmp_path / "to", bench(*[300] * 5))
    assert not (tmp_path / "to" / TOKENIZER).exists()
    assert Tokenizer.from_file(str(form.tokenizer)).truncation is None
