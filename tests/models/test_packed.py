"""Token ids end to end: the tokenizer's own ids in a fraction of the room."""

import tracemalloc

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sartor.models.packed import Packed, tokenise
from tests.tiny import tiny_tokenizer

ROWS = st.lists(st.lists(st.integers(0, 2**31 - 1), max_size=5), max_size=8)


@given(ROWS)
def test_packing_keeps_every_row(rows):
    packed = Packed.of(rows)

    assert [row.tolist() for row in packed] == rows
    assert packed.lengths.tolist() == [len(row) for row in rows]
    assert packed.flat.tolist() == [token for row in rows for token in row]


@given(ROWS, st.slices(8))
def test_a_slice_is_packed_rows_as_a_slice_of_a_list_is_a_list(rows, part):
    assert [row.tolist() for row in Packed.of(rows)[part]] == rows[part]


def test_ids_are_those_of_the_tokenizer_whatever_the_window():
    texts = [f"the product is {'very ' * (i % 7)}good {i}" for i in range(2500)]
    tokenizer = tiny_tokenizer()
    tokenizer.enable_truncation(12)

    found = tokenise(tokenizer, texts, "this: ")

    whole = tokenizer.encode_batch([f"this: {text}" for text in texts])
    assert [row.tolist() for row in found] == [encoding.ids for encoding in whole]


def test_lone_surrogates_are_read_as_question_marks():
    tokenizer = tiny_tokenizer()

    found = tokenise(tokenizer, ["good \ud800", "good ?"])

    assert found[0].tolist() == found[1].tolist()


def test_many_texts_take_some_bytes_a_token_and_not_python_objects():
    texts = ["the product is very good and the price is fine " * 4] * 20_000
    tokenizer = tiny_tokenizer()
    tracemalloc.start()

    found = tokenise(tokenizer, texts)

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    tokens = len(found.flat)
    assert found.flat.dtype == np.int32
    assert peak < 12 * tokens, f"{peak / tokens:.0f} bytes a token"
