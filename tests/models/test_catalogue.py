import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sartor.core.errors import ModelError, UnknownName
from sartor.core.hashing import file_sha256
from sartor.models import store
from sartor.models.catalogue import find_backbone, list_starters
from sartor.models.choose import choose_starter
from sartor.models.loading import load_model, load_tokenizer
from tests.tiny import make_tiny_bert


def change_config(backbone, **values):
    file = Path(backbone.path) / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def test_a_folder_is_described_without_loading_it(tiny):
    weights = Path(tiny.path) / "model.safetensors"
    parameters = sum(p.numel() for p in load_model(weights.parent).parameters())
    assert (tiny.layers, tiny.width, tiny.max_length) == (2, 32, 128)
    assert tiny.parameters == parameters
    assert tiny.weights_sha256 == file_sha256(weights)
    assert (tiny.source, tiny.licence, tiny.prefix) == ("folder", "unknown", "")


def test_licence_languages_and_prompt_come_from_the_models_own_files(tiny):
    folder = Path(tiny.path)
    (folder / "README.md").write_text("---\nlanguage:\n- zh\n- en\nlicense: apache-2.0\n---\nHi")
    settings = {"prompts": {"query": "ask: "}, "default_prompt_name": "query"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(settings))
    found = find_backbone(tiny.path)
    assert (found.licence, found.languages, found.prefix) == ("Apache-2.0", ("zh", "en"), "ask: ")


@pytest.mark.parametrize("pickle", ["pytorch_model.bin", "model.pt", "model.ckpt", "weights.pkl"])
def test_a_folder_with_pickle_weights_only_is_refused_by_file_name(tiny, pickle):
    weights = Path(tiny.path) / "model.safetensors"
    weights.rename(weights.with_name(pickle))
    with pytest.raises(ModelError, match=pickle):
        find_backbone(tiny.path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("auto_map", {"AutoModel": "evil.Model"}),
        ("text_config", {"auto_map": {"AutoModel": "evil.Model"}}),
        ("_attn_implementation", "someone/kernel"),
        ("attn_implementation", "someone/kernel"),
        ("quantization_config", {"quant_method": "gguf"}),
    ],
)
def test_a_config_that_names_code_is_refused(tiny, key, value):
    change_config(tiny, **{key: value})
    with pytest.raises(ModelError):
        find_backbone(tiny.path)
    with pytest.raises(ModelError):
        load_model(Path(tiny.path))


@pytest.mark.parametrize("text", ["[" * 100_000, "[1]", "{", "{}", '{"model_type": "bert"}'])
def test_a_config_that_is_no_config_is_an_error_with_its_fix(tiny, text):
    (Path(tiny.path) / "config.json").write_text(text)
    with pytest.raises(ModelError) as caught:
        find_backbone(tiny.path)
    assert caught.value.fix


def test_oversized_files_are_refused_before_they_are_read(tiny):
    with (Path(tiny.path) / "config.json").open("r+b") as file:
        file.truncate(2 << 20)
    with pytest.raises(ModelError, match="2,097,152 bytes"):
        find_backbone(tiny.path)
    with (Path(tiny.path) / "tokenizer.json").open("r+b") as file:
        file.truncate(1 << 30)
    with pytest.raises(ModelError, match="1,073,741,824 bytes"):
        load_tokenizer(Path(tiny.path))


def test_a_header_that_claims_more_than_the_file_is_damage(tiny):
    with (Path(tiny.path) / "model.safetensors").open("r+b") as file:
        file.write(b"\xff" * 8)
    with pytest.raises(ModelError, match="header claims"):
        find_backbone(tiny.path)


def test_weights_that_do_not_fit_the_config_are_named(tiny):
    change_config(tiny, num_hidden_layers=3)
    with pytest.raises(ModelError, match=r"encoder\.layer\.2"):
        load_model(Path(tiny.path))


def test_an_adapter_or_a_broken_tokenizer_is_refused(tiny):
    (Path(tiny.path) / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="not a tokenizer"):
        load_tokenizer(Path(tiny.path))
    (Path(tiny.path) / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match="adapter"):
        find_backbone(tiny.path)


def test_an_unknown_name_gets_the_near_miss(tmp_path):
    with pytest.raises(UnknownName, match="did you mean 'minilm'"):
        find_backbone("minilmm", root=tmp_path)
    with pytest.raises(ModelError, match="no folder"):
        find_backbone("./nothing", root=tmp_path)


def test_a_relative_folder_is_relative_to_the_root(tmp_path):
    make_tiny_bert(tmp_path / "mine")
    assert find_backbone("mine", root=tmp_path).path == str((tmp_path / "mine").resolve())


def test_a_hub_model_that_is_not_cached_says_how_to_go_on_when_offline(tmp_path):
    code = """
from sartor.core.errors import ModelError
from sartor.models.catalogue import find_backbone
try:
    find_backbone("some/model@main")
except ModelError as error:
    print(error)
"""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert "some/model@main is not in the cache" in done.stdout, done.stderr
    assert "HF_ENDPOINT" in done.stdout


def test_a_hub_model_with_pickle_weights_only_is_refused_with_ways_to_safetensors(tiny, tmp_path):
    snapshot = tmp_path / "hub" / "models--some--model" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text(snapshot.name)
    for name in ("config.json", "tokenizer.json"):
        (snapshot / name).write_bytes((Path(tiny.path) / name).read_bytes())
    code = """
from sartor.core.errors import ModelError
from sartor.models.catalogue import find_backbone
try:
    find_backbone("some/model")
except ModelError as error:
    print(error)
"""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert "some/model has no model.safetensors" in done.stdout, done.stderr
    assert "some/model@refs/pr/N" in done.stdout


def test_digests_are_computed_once_and_again_when_the_file_changes(tmp_path, monkeypatch):
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    first = store.weights_sha256(file)
    monkeypatch.setattr(store, "file_sha256", lambda path: pytest.fail("computed again"))
    assert store.weights_sha256(file) == first
    monkeypatch.undo()
    file.write_bytes(b"other")
    assert store.weights_sha256(file) == file_sha256(file) != first


def test_english_gets_the_small_starter_and_chinese_the_multilingual_one():
    from dataclasses import replace

    all_there = [replace(s, installed=True) for s in list_starters()]
    assert choose_starter({"en": 0.93, "zh": 0.07}, starters=all_there).name == "minilm"
    assert choose_starter({"en": 0.8, "zh": 0.2}, starters=all_there).name == "e5_small"
    chosen = choose_starter({"zh-CN": 1.0}, starters=all_there)
    assert chosen.name == "e5_small"
    assert "100% zh-CN" in chosen.why
    assert choose_starter({}, starters=all_there).name == "minilm"
    few = choose_starter({"en": 0.997, "es": 0.003}, starters=all_there)
    assert "the texts are 100% en: " in few.why, "a language of none of the texts is not named"


def test_a_better_starter_that_is_missing_or_not_allowed_is_said():
    from dataclasses import replace

    only = [replace(s, installed=s.name == "minilm") for s in list_starters()]
    chosen = choose_starter({"zh": 0.8, "en": 0.2}, starters=only)
    assert chosen.name == "minilm"
    assert "20%" in chosen.caution
    assert "sartor starters add e5_small" in chosen.caution
    assert "20%" in choose_starter({"zh": 0.8, "en": 0.2}, licences=["Apache-2.0"]).caution
    with pytest.raises(ModelError, match="GPL"):
        choose_starter({"en": 1.0}, licences=["GPL-3.0-only"], starters=only)
