"""Replies in words, from a file to a served bundle, and what a need or a row cannot have."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from sartor.bundle import open_bundle
from sartor.models.catalogue import find_backbone
from sartor.serve.runtime import load
from sartor.tune.writers.lora import LoraReply
from tests.stories.shop import Here, exported, ran, refused
from tests.tiny import make_tiny_llama
from tests.written import rows

NEED = """name: replies
task: text_generation
data:
  train: tickets.csv
  text: question
  label: reply
accept:
  - rouge_l >= {rouge}
  - perplexity <= {perplexity}
  - size_mb <= 5
prefer: {{backbones: [./llama], methods: [{methods}]}}
"""


def need(methods: str, rouge: float = 0.5, perplexity: float = 1e20) -> str:
    return NEED.format(methods=methods, rouge=rouge, perplexity=perplexity)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    make_tiny_llama(folder / "llama", max_length=256)
    found = rows(150, 5)
    lines = dict(zip(found.texts, map(str, found.target), strict=True))
    text = "".join(f"{q},{r}\n" for q, r in [("question", "reply"), *lines.items()])
    (folder / "tickets.csv").write_text(text)
    (folder / "need.yaml").write_text(need("nearest"))
    return folder


def test_a_need_that_old_replies_meet_ends_without_a_model(place: Path, here: Here):
    found = ran(here)
    verdicts = {v["criterion"]: v for v in found["verdicts"]}
    rouge = verdicts["rouge_l >= 0.5"]
    assert rouge["low"] <= rouge["value"] <= rouge["high"]
    assert found["state"] == "met", verdicts
    bundle = open_bundle(place / found["bundle"])
    assert "replies.json" in bundle.manifest.files
    assert "model.onnx" not in bundle.manifest.files
    report = json.loads(here("report", "--json").out)
    assert report["task"] == "text_generation"
    assert report["data"]["labels"] == {}
    page = (place / here("report").out.strip()).read_text()
    assert "shares with the right one" in page
    assert "another reply" not in report["data"]["dropped"]
    (place / "new.txt").write_text("is my order late\n")
    said = here("predict", found["bundle"], "new.txt")
    assert said.status == 0, said.err
    assert json.loads(said.out)["best"].startswith("it is ")


def test_a_tuned_model_is_judged_compressed_and_served(place: Path, here: Here):
    (place / "need.yaml").write_text(need("prompted, lora", 0.9, 300))
    found = ran(here)
    verdicts = {v["criterion"]: v for v in found["verdicts"]}
    report = json.loads(here("report", "--json").out)
    assert {c["rung"] for c in report["candidates"]} == {"prompted", "lora"}
    names = {a["name"] for a in report["artefacts"]}
    assert names == {"onnx", "int8_rows"}
    bundle = open_bundle(place / found["bundle"])
    assert {"model.onnx", "tokenizer.json", "writer.json"} <= set(bundle.manifest.files)
    assert bundle.manifest.lineage["method"] in ("prompted", "lora")
    assert verdicts["perplexity <= 300"]["low"] > 1, verdicts
    served = load(bundle.folder, unreleased="allow")
    (answer,) = served.predict(["is my order late"])
    assert set(answer) >= {"label", "best", "confidence", "tokens", "finish"}

    # Fresh rows: the same bundle, the same metrics, perplexity too.
    fresh = "".join(f"{q},{r}\n" for q, r in [("question", "reply"), ("my order again", "it is")])
    (place / "fresh.csv").write_text(fresh)
    said = here("judge", found["bundle"], "fresh.csv", "--json")
    assert said.status in (0, 1), said.err
    judged = {v["criterion"]: v for v in json.loads(said.out)["verdicts"]}
    assert judged["perplexity <= 300"]["n"] == 1


def test_a_tuned_model_goes_on_in_stock_libraries_and_others_say_why_not(place: Path, here: Here):
    (place / "need.yaml").write_text(need("lora", 0.9, 300))
    folder = exported(here, ran(here)["bundle"])
    card = (folder / "README.md").read_text()
    assert "LlamaForCausalLM" in card
    assert "pipeline_tag: text-generation" in card
    assert "apply_chat_template" in card
    (place / "need.yaml").write_text(need("nearest"))
    said = here("bundle", "export", ran(here)["bundle"], "--transformers", "other")
    refused(said, "looks replies up (nearest)", "under prefer.methods")
    (place / "need.yaml").write_text(need("prompted"))
    said = here("bundle", "export", ran(here)["bundle"], "--transformers", "other")
    refused(said, "shown examples before each conversation (prompted)")
    assert not (place / "other").exists()


def spoil(folder: Path) -> None:
    """Make every loss of the model not a number."""
    weights = load_file(folder / "model.safetensors")
    norm = next(name for name in weights if name.endswith("norm.weight"))
    save_file(
        {**weights, norm: weights[norm] * np.nan}, folder / "model.safetensors", {"format": "pt"}
    )


def ask_for_too_much(*_: object) -> None:
    torch.empty(1 << 58)


@pytest.mark.parametrize(
    ("method", "why"),
    [
        ("lora", "loss nan"),
        ("prompted", "no text on some validation rows"),
        ("lora", "out of memory"),
    ],
)
def test_a_model_that_cannot_be_tuned_is_told_and_stepped_over(
    place: Path, here: Here, monkeypatch: pytest.MonkeyPatch, method: str, why: str
):
    (place / "need.yaml").write_text(need(f"nearest, {method}", 0.99))
    if "memory" in why:
        monkeypatch.setattr(LoraReply, "fit", ask_for_too_much)
    else:
        spoil(place / "llama")
    found = ran(here)
    assert open_bundle(place / found["bundle"]).manifest.lineage["method"] == "nearest"
    tried = json.loads(here("report", "--json").out)["candidates"]
    failed = [c for c in tried if c["rung"] == method]
    assert failed
    assert {c["state"] for c in failed} == {"failed"}
    assert all(why in c["why"] for c in failed), failed


def test_a_run_that_is_repeated_ends_with_the_same_bundle(place: Path, here: Here):
    (place / "need.yaml").write_text(need("prompted"))
    assert ran(here)["bundle"] == ran(here)["bundle"]


def test_the_plan_prices_the_ladder(place: Path, here: Here):
    (place / "need.yaml").write_text(need("").replace(", methods: []", ""))
    plan = json.loads(here("plan", "need.yaml", "--json").out)
    assert [rung["rung"] for rung in plan["plan"]] == ["nearest", "prompted", "lora"]
    assert plan["plan"][0]["seconds"][1] < plan["plan"][2]["seconds"][1]


def test_init_finds_text_and_reply(place: Path, here: Here):
    said = here("init", "tickets.csv", "--task", "text_generation", "--to", "begun.yaml")
    assert said.status == 0, said.err
    begun = (place / "begun.yaml").read_text()
    assert "text: question" in begun
    assert "label: reply" in begun
    assert "rouge_l" in begun
    assert "0 faults" in here("data", "check", "begun.yaml").out


def test_a_text_with_several_replies_keeps_one_and_lists_the_others(place: Path, here: Here):
    with (place / "tickets.csv").open("a") as file:
        file.write("where is it,here\nwhere is it,there\nwhere is it,here\nno reply,\n")
    ran(here)
    dropped = json.loads(here("report", "--json").out)["data"]["dropped"]
    assert dropped["another reply"] == 1
    assert dropped["duplicate"] == 1
    assert dropped["no label"] == 1


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ('"[{""role"": ""assistant"", ""content"": ""hi""}]",yes', ("row 1", "turns")),
        ('"[{""role"": ""tool"", ""content"": ""hi""}]",yes', ("row 1", "role")),
    ],
)
def test_a_row_that_is_no_conversation_is_refused_with_its_place(place, here, row, words):
    text = (place / "tickets.csv").read_text().splitlines()
    (place / "tickets.csv").write_text("\n".join([text[0], row, *text[1:]]) + "\n")
    refused(here("run", "need.yaml"), "tickets.csv", *words)


def test_a_reply_that_the_tokenizer_cannot_write_is_refused(place: Path, here: Here):
    import tokenizers

    from tests.tiny import tiny_tokenizer

    made = tiny_tokenizer()
    made.add_special_tokens(
        [tokenizers.AddedToken(t, special=True) for t in ("<|im_start|>", "<|im_end|>")]
    )
    made.save(str(place / "llama" / "tokenizer.json"))
    with (place / "tickets.csv").open("a") as file:
        file.write("what is it,ünïcode ☃\n")
    find_backbone(str(place / "llama"), kind="llm")
    refused(here("run", "need.yaml"), "tokenizer", "could never be written")


def test_control_tokens_in_a_text_are_said_and_read_as_text(place: Path, here: Here):
    with (place / "tickets.csv").open("a") as file:
        file.write("stop <|im_end|> now,it is now\n")
    said = here("plan", "need.yaml")
    assert said.status == 0, said.err
    assert "control token" in said.err
    assert "row 151" in said.err or "row 1" in said.err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("rouge_l", "accuracy"), ("accuracy", "rouge_l")),
        (("methods: [nearest]", "methods: [lroa]"), ("lroa", "lora")),
        (("methods: [nearest]", "long_texts: windows"), ("windows",)),
        (("methods: [nearest]", "max_length: 64"), ("max_length",)),
        (("methods: [nearest]", "pretrain: mlm"), ("pretrain",)),
        (("methods: [nearest]", "llm: ./llama"), ("prefer.backbones",)),
        (("./llama", "minilm"), ("encoder",)),
        (("  label: reply", "  label: reply\n  labels: [a, b]"), ("labels",)),
        (("size_mb <= 5", "size_mb <= 0.000001"), ("MB", "allowed")),
    ],
)
def test_a_need_that_replies_have_no_use_for_is_refused(place, here, change, words):
    (place / "need.yaml").write_text(need("nearest").replace(*change))
    said = here("plan", "need.yaml")
    assert said.status == 2, said
    assert "Fix: " in said.err
    for word in words:
        assert word in said.err
