"""A table of characters that leads outside itself is refused before anything walks it."""

import io

import numpy as np
import pytest
import sentencepiece
from tokenizers import Tokenizer, models, normalizers
from transformers.convert_slow_tokenizer import import_protobuf

from sartor.core.characters import table_fault, tokenizer_fault

RULES = ["nmt_nfkc", "nfkc", "nmt_nfkc_cf", "nfkc_cf"]


def table_of(rule):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a text", "another one"]),
        model_writer=model,
        vocab_size=20,
        hard_vocab_limit=False,
        normalization_rule_name=rule,
        minloglevel=2,
    )
    proto = import_protobuf().ModelProto()
    proto.ParseFromString(model.getvalue())
    return proto.normalizer_spec.precompiled_charsmap


@pytest.mark.parametrize("rule", RULES)
def test_the_tables_of_sentencepiece_can_be_walked(rule):
    assert table_fault(table_of(rule)) == ""


def with_units(change):
    table = table_of("nmt_nfkc")
    size = int.from_bytes(table[:4], "little")
    units = np.frombuffer(table, "<u4", size // 4, 4).copy()
    change(units)
    return table[:4] + units.tobytes() + table[4 + size :]


def lead_outside(units):
    units[0] = 0x1FFFFF << 10


def begin_outside(units):
    units[units >> 31 == 1] = 0xFFFFFFFF


@pytest.mark.parametrize(
    ("table", "what"),
    [
        (b"", "cut off"),
        (b"\x00\x00\x00\x00", "cut off"),
        (b"\x08\x00\x00\x00abcdefgh", "cut off"),
        (b"\xff\xff\xff\xff" + b"x" * 4096, "cut off"),
        (with_units(lead_outside), "leads outside"),
        (with_units(begin_outside), "begins outside"),
    ],
)
def test_a_damaged_table_is_refused(table, what):
    assert what in table_fault(table)


@pytest.mark.parametrize("seed", range(40))
def test_what_is_not_refused_ends_no_process(seed):
    draw = np.random.default_rng(seed)
    table = bytearray(table_of("nmt_nfkc"))
    # The texts stay as they are: tokenizers itself refuses those that are no UTF-8.
    for place in draw.integers(4, 4 + int.from_bytes(table[:4], "little"), 3):
        table[place] = draw.integers(256)
    if table_fault(bytes(table)):
        return
    read = normalizers.Precompiled(bytes(table))
    read.normalize_str("".join(map(chr, [*range(1, 0xD800), *range(0xE000, 0x11000)])))


def tokenizer_with(*steps):
    found = Tokenizer(models.BPE())
    if steps:
        found.normalizer = normalizers.Sequence([normalizers.Sequence([*steps])])
    return Tokenizer.from_str(found.to_str())


def test_a_table_is_found_among_the_steps_of_a_tokenizer():
    good = normalizers.Precompiled(table_of("nmt_nfkc"))
    bad = normalizers.Precompiled(with_units(lead_outside))
    assert tokenizer_fault(tokenizer_with()) == ""
    assert tokenizer_fault(tokenizer_with(normalizers.Lowercase(), good)) == ""
    assert "leads outside" in tokenizer_fault(tokenizer_with(normalizers.NFC(), good, bad))
