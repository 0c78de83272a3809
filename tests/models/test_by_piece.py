"""A tokenizer that parts a text at its pieces: no token stands in two, and each is found again."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from sartor.core.pieces import pieces
from sartor.core.types import Backbone
from sartor.models.by_piece import in_pieces, part_pieces, tokenise_by_piece
from sartor.models.encode import EncodeSettings, TextEncoder
from sartor.models.loading import load_text_backbone, tokenizer_of
from sartor.models.packed import tokenise
from sartor.models.precision import Precision
from tests.tiny import byte_tokenizer, tiny_tokenizer

TEXT = "the 30kg invoice 在北京, isn't it? 退款"


def unigram():
    """As SentencePiece makes them: words that go on over Chinese characters, with ▁ for a space."""
    letters = [*"abcdefghijklmnopqrstuvwxyz0123456789,?'", *"在北京退款市"]
    words = ["▁", "▁the", "▁invoice", "北京", "▁在北京", "30kg", "▁it", "退款"]
    vocabulary = [("<unk>", 0.0), *((w, -1.0) for w in words), *((c, -5.0) for c in letters)]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=0))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    return tokenizer


def plain():
    return Tokenizer(models.Unigram([("<unk>", 0.0), ("ab", -1.0), ("a", -2.0)], unk_id=0))


KINDS = {"wordpiece": tiny_tokenizer, "unigram": unigram, "bytes": byte_tokenizer, "none": plain}


@pytest.mark.parametrize("kind", KINDS)
def test_no_token_stands_in_two_pieces(kind):
    tokenizer = part_pieces(KINDS[kind]())
    places = pieces(TEXT)
    for start, end in tokenizer.encode(TEXT, add_special_tokens=False).offsets:
        inside = [p for p in places if start < p[1] and p[0] < end]
        assert len(inside) <= 1, TEXT[start:end]


def test_sentencepiece_would_have_read_several_pieces_as_one():
    before = [unigram().encode(TEXT).tokens, part_pieces(unigram()).encode(TEXT).tokens]
    assert "▁在北京" in before[0]
    assert "▁在北京" not in before[1]
    assert {"在", "北", "京", "▁the", "▁invoice"} <= set(before[1])
    assert "▁北" not in before[1], "a space where there is none"


@pytest.mark.parametrize("kind", KINDS)
def test_the_split_is_in_the_file_that_is_shipped(kind):
    tokenizer = part_pieces(KINDS[kind]())
    again = Tokenizer.from_str(tokenizer.to_str())
    assert again.encode(TEXT).ids == tokenizer.encode(TEXT).ids


@settings(deadline=None, max_examples=50)
@given(
    st.sampled_from(sorted(KINDS)),
    st.text(alphabet="ab 3北京,…①\u0301\u200b\ud800", max_size=15),
    st.sampled_from(["", "query: "]),
)
def test_every_piece_is_read_once_in_order_whatever_the_tokenizer_drops(kind, text, prefix):
    tokenizer = part_pieces(KINDS[kind]())
    ids, marks = tokenise_by_piece(tokenizer, [text], prefix)
    assert len(ids[0]) == len(marks[0])
    places, offsets = (
        pieces(text),
        tokenizer.encode(prefix + text.encode("utf-8", "replace").decode()),
    )
    read = [at for at, n in enumerate(marks[0].tolist()) for _ in range(n)]
    assert len(read) <= len(places)
    for token, (start, _) in zip(read, places, strict=False):
        assert offsets.offsets[token][1] > start + len(prefix)
        assert all(e <= start + len(prefix) or e <= s for s, e in offsets.offsets[:token])


def test_ids_are_those_of_tokenise_and_cutting_cuts_the_last_pieces():
    tokenizer = part_pieces(tiny_tokenizer())
    texts = [TEXT, "", "good"]
    ids, marks = tokenise_by_piece(tokenizer, texts, "the: ")
    for one, other in zip(ids, tokenise(tokenizer, texts, "the: "), strict=True):
        assert one.tolist() == other.tolist()
    assert [int(m.sum()) for m in marks] == [len(pieces(text)) for text in texts]
    tokenizer.enable_truncation(6)
    cut, left = tokenise_by_piece(tokenizer, texts)
    assert len(cut[0]) == 6
    assert 0 < left[0].sum() < len(pieces(TEXT))


def test_a_backbone_in_pieces_is_another_one_and_its_states_lie_elsewhere(tiny: Backbone):
    parted = in_pieces(tiny)
    assert parted.pieces
    assert parted.sha256 != tiny.sha256
    assert in_pieces(parted) == parted
    assert tokenizer_of(tiny).encode("30kg").ids != tokenizer_of(parted).encode("30kg").ids
    shipped = load_text_backbone(parted)[1]
    assert shipped.encode(TEXT).ids == tokenizer_of(parted).encode(TEXT).ids


def test_an_encoder_says_where_pieces_are_read(tiny: Backbone):
    encoder = TextEncoder(
        in_pieces(tiny), None, precision=Precision("float32", 1.0, 1.0), settings=EncodeSettings()
    )
    marks = encoder.marks([TEXT, "good"])
    with encoder.states([TEXT, "good"], -1) as states:
        assert [len(m) for m in marks] == states.lengths().tolist()
    assert [int(m.sum()) for m in marks] == [len(pieces(TEXT)), 1]
