"""A model that writes, exported, writes in stock classes what its bundle writes."""

import json
import shutil
from functools import cache
from math import log
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    LlamaForCausalLM,
)

from sartor.core.errors import ModelError
from sartor.core.replies import Said, as_numbers, as_said
from sartor.core.types import PUBLISHED
from sartor.models.catalogue import find_backbone
from sartor.serve.runtime import Runtime, start
from sartor.shrink.stock import Answered, Told, Usage, stock_of
from sartor.shrink.stocks._writing import furthest
from tests import translated, written
from tests.tiny import CHAT, make_tiny_llama, make_tiny_seq2seq

TEXTS = [*translated.pairs(3).texts, "a good bad goo", "héllo 中文 🙂", "x"]
BEGINS = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
KINDS = ["bart", "mbart", "m2m_100", "marian", "pegasus", "t5", "t5-gated"]


def told(task: str) -> Told:
    return Told(task, ("reply",), {}, "", "", 64, windows=False)


def answered(served: Runtime) -> Answered:
    found = [as_said(row) for row in served.logits(TEXTS)]
    said = [each.text for each in found if each is not None]
    assert len(set(said)) > 1, "all texts alike: nothing is shown"
    return Answered(TEXTS, served.scored(TEXTS, said), said)


def exported(fit: Path, task: str, folder: Path) -> Usage:
    folder.mkdir()
    return stock_of(task).write(fit, told(task), folder)


@pytest.fixture
def llama(tmp_path: Path) -> Any:
    return find_backbone(str(make_tiny_llama(tmp_path / "llama", max_length=256)), kind="llm")


@pytest.mark.parametrize("begins", ["", BEGINS], ids=["silent", "says where a reply begins"])
def test_a_chat_model_replies_as_its_bundle(tmp_path: Path, llama: Any, capfd: Any, begins: str):
    (Path(llama.path) / "chat_template.jinja").write_text(CHAT + begins)
    written.saved(tmp_path / "fit", llama)
    served = start(written.bundle_of(tmp_path / "fit", tmp_path / "bundle"), threads=1)
    capfd.readouterr()
    usage = exported(tmp_path / "fit", "text_generation", tmp_path / "out")
    ours = answered(served)
    assert stock_of("text_generation").apart(tmp_path / "out", told("text_generation"), ours) < 1e-4
    assert capfd.readouterr() == ("", "")
    assert "LlamaForCausalLM" in usage.text
    assert "lm_head.weight" not in load_file(tmp_path / "out" / "model.safetensors"), "words twice"
    tokenizer: Any = AutoTokenizer.from_pretrained(tmp_path / "out")
    model: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    for text, said in zip(TEXTS, ours.written, strict=True):
        asked = tokenizer.apply_chat_template(
            [{"role": "user", "content": text}],
            add_generation_prompt=True,
            return_dict=True,
            return_tensors="pt",
        )
        found = model.generate(**asked)[0, asked["input_ids"].shape[1] :]
        assert tokenizer.decode(found, skip_special_tokens=True) == said
    template = (tmp_path / "out" / "chat_template.jinja").read_text()
    assert template == (CHAT + begins if begins else template)
    assert template.count("add_generation_prompt") == 1
    for path in (tmp_path / "out").rglob("*"):
        if path.is_file():
            assert str(tmp_path).encode() not in path.read_bytes(), path.name


def test_a_head_of_its_own_stays_one(tmp_path: Path, llama: Any):
    folder = Path(llama.path)
    config = AutoConfig.from_pretrained(folder)
    config.tie_word_embeddings = False
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        LlamaForCausalLM(config).save_pretrained(folder)
    written.saved(tmp_path / "fit", find_backbone(str(folder), kind="llm"))
    served = start(written.bundle_of(tmp_path / "fit", tmp_path / "bundle"), threads=1)
    exported(tmp_path / "fit", "text_generation", tmp_path / "out")
    stock, ours = stock_of("text_generation"), answered(served)
    assert stock.apart(tmp_path / "out", told("text_generation"), ours) < 1e-4
    tensors = load_file(tmp_path / "out" / "model.safetensors")
    assert not torch.equal(tensors["lm_head.weight"], tensors["model.embed_tokens.weight"])


def test_older_versions_find_the_base_of_positions_and_the_tokenizer(tmp_path: Path, llama: Any):
    folder = Path(llama.path)
    config = json.loads((folder / "config.json").read_text())
    config["rope_parameters"] = {"rope_theta": 5000.0, "rope_type": "linear", "factor": 2.0}
    (folder / "config.json").write_text(json.dumps(config))
    other = find_backbone(str(folder), kind="llm")
    written.saved(tmp_path / "fit", other)
    served = start(written.bundle_of(tmp_path / "fit", tmp_path / "bundle"), threads=1)
    exported(tmp_path / "fit", "text_generation", tmp_path / "out")
    found = json.loads((tmp_path / "out" / "config.json").read_text())
    assert found["rope_theta"] == 5000.0
    assert found["rope_scaling"] == {"rope_type": "linear", "factor": 2.0}
    named = json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())
    assert named["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert named["model_input_names"] == ["input_ids", "attention_mask"], "generate takes no other"
    stock = stock_of("text_generation")
    assert stock.apart(tmp_path / "out", told("text_generation"), answered(served)) < 1e-4


def test_how_far_apart_two_find_a_text_is_told_a_token():
    said = [Said("", 0, 0, True, 3 * log(0.9), 3), Said("", 0, 0, True, 2 * log(0.5), 2)]
    ours = Answered(["a", "b"], as_numbers(said), ["", ""])
    found = furthest([(3 * log(0.3), 3), (2 * log(0.6), 2)], ours)
    assert found == pytest.approx(0.6)
    with pytest.raises(ModelError, match="4 tokens, and the bundle 3"):
        furthest([(-1.0, 4), (-1.0, 2)], ours)


def test_a_prompted_model_is_refused(tmp_path: Path, llama: Any):
    written.saved(tmp_path / "fit", llama, shown=(0,))
    with pytest.raises(ModelError, match=r"shown examples .*\(prompted\)"):
        exported(tmp_path / "fit", "text_generation", tmp_path / "out")


@pytest.mark.parametrize("task", ["text_generation", "translation"])
def test_a_fit_without_its_own_tokenizer_or_with_other_weights_is_refused(
    tmp_path: Path, llama: Any, task: str
):
    fit = tmp_path / "fit"
    if task == "translation":
        bart = find_backbone(str(make_tiny_seq2seq(tmp_path / "bart")), kind="seq2seq")
        translated.saved(fit, bart, 1)
    else:
        written.saved(fit, llama)
    tensors = load_file(fit / "model.safetensors")
    lost = next(name for name in tensors if name.endswith("self_attn.k_proj.weight"))
    save_file({k: v for k, v in tensors.items() if k != lost}, fit / "model.safetensors")
    with pytest.raises(ModelError, match="does not hold a saved"):
        exported(fit, task, tmp_path / "out")
    shutil.rmtree(fit / PUBLISHED)
    with pytest.raises(ModelError, match="left by an earlier version"):
        exported(fit, task, tmp_path / "again")


@pytest.fixture(scope="module")
def backbones(tmp_path_factory: pytest.TempPathFactory) -> Any:
    def make(kind: str) -> Any:
        folder = tmp_path_factory.mktemp("model") / kind
        return find_backbone(str(make_tiny_seq2seq(folder, kind)), kind="seq2seq")

    return cache(make)


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_an_encoder_decoder_writes_as_its_bundle(
    tmp_path: Path, backbones: Any, kind: str, beams: int
):
    translated.saved(tmp_path / "fit", backbones(kind), beams)
    served = start(translated.bundle_of(tmp_path / "fit", tmp_path / "bundle"), threads=1)
    usage = exported(tmp_path / "fit", "translation", tmp_path / "out")
    ours = answered(served)
    assert stock_of("translation").apart(tmp_path / "out", told("translation"), ours) < 1e-3
    assert f"{beams} beams" in usage.text
    reads: Any = AutoTokenizer.from_pretrained(tmp_path / "out")
    model: Any = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    for text, said in zip(TEXTS, ours.written, strict=True):
        found = model.generate(**reads([text], return_tensors="pt"))
        assert reads.batch_decode(found, skip_special_tokens=True) == [said]
