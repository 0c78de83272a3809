"""The graph of a decoder computes what transformers' model computes, step by step."""

import json

import numpy as np
import pytest
import torch
from onnx import load
from transformers import LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config

from sartor.core.errors import ModelError
from sartor.models.catalogue import find_backbone
from sartor.serve.decoding import DecoderSession
from sartor.shrink import graphs
from sartor.shrink.api import Bench, Form
from sartor.shrink.compressors.int8_rows import Int8Rows
from sartor.shrink.decoder_graph import why_not, write_decoder
from sartor.shrink.export import finished
from sartor.tune.decoder import Decoder
from tests.tiny import CHAT, byte_tokenizer
from tests.written import rows, saved

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 256,
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
SCALED = {
    "rope_type": "llama3",
    "rope_theta": 10_000.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
KINDS = {
    "llama": lambda words: LlamaConfig(vocab_size=words, tie_word_embeddings=True, **SIZES),
    "llama with a head of its own": lambda words: LlamaConfig(
        vocab_size=words, tie_word_embeddings=False, rope_parameters=SCALED, **SIZES
    ),
    "mistral": lambda words: MistralConfig(vocab_size=words, sliding_window=None, **SIZES),
    "qwen2": lambda words: Qwen2Config(vocab_size=words, tie_word_embeddings=True, **SIZES),
    "qwen3": lambda words: Qwen3Config(vocab_size=words, head_dim=8, **SIZES),
}


def made(folder, kind: str):
    """A folder with a random chat model of that kind."""
    from transformers import AutoModelForCausalLM

    tokenizer = byte_tokenizer()
    config = KINDS[kind](tokenizer.get_vocab_size())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config)
        with torch.no_grad():
            for name, tensor in model.named_parameters():
                if name.endswith("bias") or "norm" in name:
                    tensor.normal_(1.0, 0.3)  # what is 0 or 1 by default would hide a fault
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text(CHAT)
    return find_backbone(str(folder), kind="llm")


def opened(folder, model: Decoder) -> DecoderSession:
    write_decoder(folder, folder / "model.onnx")
    file = model.file
    shape = (file.heads, file.size)
    return DecoderSession.open(folder / "model.onnx", 1, file.layers, shape)


@pytest.mark.parametrize("kind", KINDS)
def test_prefill_and_steps_are_those_of_the_model(tmp_path, kind):
    model, _ = saved(tmp_path / "fit", made(tmp_path / "llm", kind))
    session = opened(tmp_path / "fit", model)
    prompts = [[5, 9, 13, 17, 21, 25], [30, 31, 32]]
    after = [[[7], [8]], [[40], [41]]]
    first, kept = session.read(session.nothing(2), prompts)
    found = [first[:, -1]]
    for tokens in after:
        logits, kept = session.read(kept, tokens)
        found.append(logits[:, -1])
    for row, prompt in enumerate(prompts):
        whole = [*prompt, *(tokens[row][0] for tokens in after)]
        with torch.no_grad():
            wanted = model.decoder(input_ids=torch.tensor([whole])).logits[0].numpy()
        for step, logits in enumerate(found):
            place = len(prompt) - 1 + step
            np.testing.assert_allclose(logits[row], wanted[place], atol=2e-4, rtol=1e-3)


def test_what_was_read_once_stands_before_many(tmp_path):
    model, _ = saved(tmp_path / "fit", made(tmp_path / "llm", "llama"))
    session = opened(tmp_path / "fit", model)
    _, start = session.read(session.nothing(1), [[3, 4, 5, 6]])
    tails = [[10, 11], [12], [13, 14, 15]]
    together, _ = session.read(session.repeated(start, 3), tails)
    for row, tail in enumerate(tails):
        alone, _ = session.read(session.nothing(1), [[3, 4, 5, 6, *tail]])
        np.testing.assert_allclose(together[row, -1], alone[0, -1], atol=1e-4)


def test_logits_are_given_where_they_are_wanted(tmp_path):
    model, _ = saved(tmp_path / "fit", made(tmp_path / "llm", "llama"))
    session = opened(tmp_path / "fit", model)
    ids = [4, 8, 12, 16, 20]
    some, _ = session.read(session.nothing(1), [ids], [1, 3])
    with torch.no_grad():
        wanted = model.decoder(input_ids=torch.tensor([ids])).logits[0, [1, 3]].numpy()
    np.testing.assert_allclose(some[0], wanted, atol=1e-4, rtol=1e-3)


def test_the_graph_is_the_same_bytes_each_time(tmp_path):
    saved(tmp_path / "fit", made(tmp_path / "llm", "qwen2"))
    for name in ("one.onnx", "two.onnx"):
        write_decoder(tmp_path / "fit", tmp_path / name)
    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "two.onnx").read_bytes()


def test_eight_bits_change_logits_little_and_halve_the_file(tmp_path):
    model, _ = saved(tmp_path / "fit", made(tmp_path / "llm", "llama"))
    session = opened(tmp_path / "fit", model)
    (tmp_path / "small").mkdir()
    form = Form(tmp_path / "fit" / "model.onnx", tmp_path / "fit" / "tokenizer.json")
    bench = Bench("text_generation", ("reply",), 64, "", rows(2), rows(2), None, None, 0, print)
    Int8Rows().compress(form, tmp_path / "small", bench)
    small = tmp_path / "small" / "model.onnx"
    quantised = DecoderSession.open(small, 1, model.file.layers, session.shape)
    ids = [[4, 8, 12, 16, 20]]
    whole, _ = session.read(session.nothing(1), ids)
    rounded, _ = quantised.read(quantised.nothing(1), ids)
    assert np.corrcoef(whole.ravel(), rounded.ravel())[0, 1] > 0.99
    assert not np.allclose(whole, rounded, atol=1e-6), "nothing was rounded"
    assert any(tensor.data_type == 3 for tensor in load(small).graph.initializer)


@pytest.mark.parametrize(("kind", "tables"), [("qwen2", 1), ("llama with a head of its own", 2)])
def test_words_that_score_too_are_kept_once_and_rounded_as_both(tmp_path, kind, tables):
    saved(tmp_path / "fit", made(tmp_path / "llm", kind))
    write_decoder(tmp_path / "fit", tmp_path / "fit" / "model.onnx")
    (tmp_path / "small").mkdir()
    form = Form(tmp_path / "fit" / "model.onnx", tmp_path / "fit" / "tokenizer.json")
    bench = Bench("text_generation", ("reply",), 64, "", rows(2), rows(2), None, None, 0, print)
    Int8Rows().compress(form, tmp_path / "small", bench)

    def vocabularies(place):
        (logits, *_) = load(place).graph.output
        words = logits.type.tensor_type.shape.dim[2].dim_value
        stored = load(place).graph.initializer
        return [t.data_type for t in stored if len(t.dims) == 2 and words in t.dims]

    assert vocabularies(form.graph) == [1] * tables
    assert vocabularies(tmp_path / "small" / "model.onnx") == [3, 3]


QWEN = {"model_type": "qwen2", "vocab_size": 151_936, "tie_word_embeddings": True}
HALF = {"hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24}
HEADS = {"num_attention_heads": 14, "num_key_value_heads": 2}


def test_a_model_whose_graph_no_file_holds_is_told_by_its_size(tmp_path, monkeypatch):
    assert why_not(QWEN | HALF | HEADS) == "", "half a billion weights"
    assert "2.5 GB" in why_not({**QWEN, **HALF, **HEADS, "tie_word_embeddings": False})
    assert "an ONNX file holds 2.1 GB" in why_not({**QWEN, **HALF, **HEADS, "hidden_size": 1536})
    saved(tmp_path / "fit", made(tmp_path / "llm", "llama"))
    write_decoder(tmp_path / "fit", tmp_path / "fits.onnx")
    whole = load(tmp_path / "fits.onnx")
    monkeypatch.setattr(graphs, "MOST_BYTES", (tmp_path / "fits.onnx").stat().st_size // 4)
    for refused in (
        lambda: write_decoder(tmp_path / "fit", tmp_path / "model.onnx"),
        lambda: graphs.write_graph(whole, tmp_path / "model.onnx"),
        lambda: finished(whole, tmp_path),
    ):
        with pytest.raises(ModelError, match="an ONNX file holds"):
            refused()
    assert not (tmp_path / "model.onnx").exists()


@pytest.mark.parametrize(
    ("config", "word"),
    [
        ({"model_type": "gpt2"}, "gpt2"),
        ({"model_type": "llama", "hidden_act": "gelu"}, "gelu"),
        ({"model_type": "mistral", "sliding_window": 4096}, "window"),
        ({"model_type": "llama", "rope_scaling": {"type": "dynamic"}}, "length"),
    ],
)
def test_another_kind_is_refused_by_name(tmp_path, config, word):
    assert word in why_not(config)
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=word):
        write_decoder(tmp_path, tmp_path / "model.onnx")


def test_missing_weights_are_named(tmp_path):
    from safetensors.numpy import load_file, save_file

    saved(tmp_path / "fit", made(tmp_path / "llm", "llama"))
    tensors = load_file(tmp_path / "fit" / "model.safetensors")
    del tensors["layers.1.mlp.up_proj.weight"]
    save_file(tensors, tmp_path / "fit" / "model.safetensors")
    with pytest.raises(ModelError, match=r"layers\.1\.mlp\.up_proj\.weight"):
        write_decoder(tmp_path / "fit", tmp_path / "model.onnx")
