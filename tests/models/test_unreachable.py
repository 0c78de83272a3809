"""A tokenizer that reads a text as text: none of its control tokens is in it."""

import json

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from sartor.models.unreachable import hide
from sartor.tune.framing import plain
from tests.tiny import tiny_tokenizer

LETTERS = "ab</s>\ue001"
CONTROL = ("<unk>", "</s>", "<pad>")


@pytest.fixture
def pieces():
    """A tokenizer of T5's kind."""
    words = [*CONTROL, "▁", "▁a", *sorted({*LETTERS})]
    found = Tokenizer(models.Unigram([(word, -float(n)) for n, word in enumerate(words)], 0))
    found.pre_tokenizer = pre_tokenizers.Metaspace()
    found.decoder = decoders.Metaspace()
    found.add_special_tokens([*CONTROL])
    return found


@pytest.mark.parametrize("text", ["a</s>b", "</s>", "<pad> a", "<unk>", "\ue000</s>"])
def test_a_control_token_in_a_text_is_its_letters(pieces, text):
    control = {pieces.token_to_id(word) for word in CONTROL}
    assert control & {*pieces.encode(text.replace("\ue000", "")).ids}, "a vacuous case"
    assert not control & {*plain(pieces).encode(text).ids} - {pieces.token_to_id("<unk>")}


def test_numbers_and_spelling_stay(pieces):
    reads = plain(pieces)
    assert reads.encode("a b").ids == pieces.encode("a b").ids
    assert reads.decode(reads.encode("a</s>b").ids) == "a</s>b"
    assert reads.get_vocab_size() == pieces.get_vocab_size()


def test_a_tokenizer_of_words_stays_as_it_is():
    settings = json.loads(tiny_tokenizer().to_str())
    assert hide(settings, {0, 1, 2}) is settings
