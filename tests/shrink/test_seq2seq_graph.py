"""Which encoder-decoders can be shipped, and in how many bits."""

import numpy as np
import onnx
import pytest

from sartor.core.errors import ModelError
from sartor.models.catalogue import find_backbone
from sartor.models.folder import read_config
from sartor.serve.seq2seq import Seq2SeqSession
from sartor.shrink.api import Bench, Form
from sartor.shrink.compressors.int8_rows import Int8Rows
from sartor.shrink.seq2seq_graph import OFFSETS, why_not, write_seq2seq
from tests.tiny import make_tiny_seq2seq
from tests.translated import pairs, saved


@pytest.fixture
def fit(tmp_path):
    folder = make_tiny_seq2seq(tmp_path / "model", "marian")
    saved(tmp_path / "fit", find_backbone(str(folder), kind="seq2seq"), 1)
    write_seq2seq(tmp_path / "fit", tmp_path / "fit")
    return tmp_path / "fit"


def opened(folder):
    return Seq2SeqSession.open(folder / "encoder.onnx", folder / "model.onnx", 1, 2, (4, 8))


def test_writing_step_by_step_is_writing_at_once(fit):
    session = opened(fit)
    read = session.read([[5, 6, 7, 2], [8, 2]], 0)
    tokens = np.array([[1, 9, 10, 11], [1, 12, 13, 14]])
    whole, _ = session.write(read, tokens, keep=range(4))
    for place in range(4):
        step, read = session.write(read, tokens[:, place : place + 1])
        np.testing.assert_allclose(step[:, 0], whole[:, place], atol=2e-5)
    assert np.abs(whole[:, 1] - whole[:, 3]).max() > 0.1, "a vacuous test"


def test_both_graphs_are_in_eight_bits_after_int8_rows(fit, tmp_path):
    form = Form(fit / "model.onnx", fit / "tokenizer.json", None, fit / "encoder.onnx")
    (tmp_path / "small").mkdir()
    bench = Bench("translation", (), 64, "", pairs(2), pairs(2), None, None, 0, print)  # type: ignore[arg-type]
    Int8Rows().compress(form, tmp_path / "small", bench)
    small = form.left_in(tmp_path / "small")
    for path, name in zip(small.graphs, ("model.onnx", "encoder.onnx"), strict=True):
        assert path.stat().st_size < 0.6 * (fit / name).stat().st_size
    read = [opened(folder).read([[5, 6, 7, 2]], 0) for folder in (fit, tmp_path / "small")]
    one, other = (value.asked[0].numpy() for value in read)
    assert 0 < np.abs(one - other).max() < 0.1 * np.abs(one).max()


def test_words_that_score_too_are_kept_once_in_the_decoder(fit):
    graph = onnx.load(fit / "model.onnx").graph
    words = graph.output[0].type.tensor_type.shape.dim[2].dim_value
    assert len([t for t in graph.initializer if len(t.dims) == 2 and t.dims[0] == words]) == 1
    assert not [t for t in graph.initializer if len(t.dims) == 2 and t.dims[1] == words]


def test_an_encoder_decoder_whose_graph_no_file_holds_is_told_by_its_size():
    mbart = {"model_type": "mbart", "d_model": 1024, "vocab_size": 250_054, "decoder_layers": 12}
    mbart |= {"decoder_ffn_dim": 4096, "tie_word_embeddings": True}
    assert why_not(mbart) == ""
    assert "2.9 GB" in why_not({**mbart, "decoder_layers": 32})
    assert "2.8 GB" in why_not({**mbart, "tie_word_embeddings": False})


def test_the_encoder_is_asked_once_and_the_decoder_holds_none_of_it(fit):
    names = [
        {weight.name for weight in onnx.load(fit / name).graph.initializer}
        for name in ("encoder.onnx", "model.onnx")
    ]
    assert not [name for name in names[1] if name.startswith("encoder.layers")]
    # What the decoder asks of the text is made of the text once, not at every step.
    assert any(name.startswith("key.") for name in names[0])
    assert not [name for name in names[1] if "encoder_attn.k_proj" in name]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_type": "umt5"}, "umt5"),
        ({"activation_function": "quick_gelu"}, "quick_gelu"),
        ({"encoder_attention_heads": 2}, "heads"),
    ],
)
def test_other_kinds_are_refused_by_name(tmp_path, change, words):
    config = read_config(make_tiny_seq2seq(tmp_path / "model"))
    assert why_not(config) == ""
    assert words in why_not({**config, **change})
    assert set(OFFSETS) == {"bart", "mbart", "m2m_100", "marian", "pegasus", "t5", "mt5"}


def test_a_fit_of_another_kind_is_refused(fit):
    text = (fit / "config.json").read_text().replace('"marian"', '"umt5"')
    (fit / "config.json").write_text(text)
    with pytest.raises(ModelError, match="umt5"):
        write_seq2seq(fit, fit)
