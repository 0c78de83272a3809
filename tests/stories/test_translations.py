"""Translations and summaries, from a file to a served bundle, and what neither can have."""

import json
from pathlib import Path

import pytest
from tokenizers import normalizers
from transformers import AutoTokenizer

from sartor.bundle import open_bundle
from sartor.models import scratch
from sartor.serve.runtime import load
from tests.stories.shop import Here, exported, ran, refused
from tests.tiny import byte_tokenizer, make_tiny_seq2seq, tiny_tokenizer
from tests.translated import pairs

NEED = """name: colours
task: {task}
data:
  train: rows.csv
  text: english
  label: chinese
accept:
  - chrf >= {chrf}
  - size_mb <= 5
prefer: {{methods: [{methods}]{more}}}
"""


def need(methods: str = "nearest", chrf: float = 5, more: str = "", task: str = "translation"):
    return NEED.format(methods=methods, chrf=chrf, more=more, task=task)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    sizes = scratch.Sizes(vocabulary=320, layers=1, width=32, positions=64, dropout=0.0)
    monkeypatch.setattr(scratch.write_scratch, "__defaults__", (sizes,))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    rows = pairs(150, 5)
    lines = zip(rows.texts, map(str, rows.target), strict=True)
    text = "".join(f"{a},{b}\n" for a, b in [("english", "chinese"), *lines])
    (folder / "rows.csv").write_text(text)
    (folder / "need.yaml").write_text(need())
    return folder


def test_what_a_memory_meets_ends_without_a_model(place: Path, here: Here):
    found = ran(here)
    assert found["state"] == "met", found
    bundle = open_bundle(place / found["bundle"])
    assert "replies.json" in bundle.manifest.files
    (place / "new.txt").write_text("big red dog\n")
    said = here("predict", found["bundle"], "new.txt")
    assert set(json.loads(said.out)["best"]) & set("大红狗")


def test_a_model_learnt_from_nothing_is_judged_compressed_and_served(place: Path, here: Here):
    (place / "need.yaml").write_text(
        need("scratch", 99).replace("  - size_mb", "  - bleu >= 99\n  - size_mb")
    )
    plan = here("plan", "need.yaml")
    assert "no pretrained model" in plan.err
    found = ran(here)
    report = json.loads(here("report", "--json").out)
    assert {a["name"] for a in report["artefacts"]} == {"onnx", "int8_rows"}
    assert "from_scratch" in json.dumps(report["candidates"])
    bundle = open_bundle(place / found["bundle"])
    names = {"model.onnx", "encoder.onnx", "tokenizer.json", "translator.json"}
    assert names <= set(bundle.manifest.files)
    assert bundle.manifest.lineage["replies"] == "from scratch"
    card = (bundle.folder / "README.md").read_text()
    assert "No pretrained model" in card
    served = load(bundle.folder, unreleased="allow")
    (answer,) = served.predict(["big red dog"])
    assert set(answer) >= {"label", "best", "confidence", "tokens", "finish"}
    verdicts = {v["criterion"]: v for v in found["verdicts"]}
    assert verdicts["bleu >= 99"]["low"] <= verdicts["bleu >= 99"]["value"]

    # Fresh rows: the same bundle, the same metrics.
    (place / "fresh.csv").write_text(
        "english,chinese\nold cat big blue new,旧猫大蓝新\nnew dog red red cat,新狗红红猫\n"
    )
    said = here("judge", found["bundle"], "fresh.csv", "--json")
    assert said.status in (0, 1), said.err
    judged = {v["criterion"]: v for v in json.loads(said.out)["verdicts"]}
    assert judged["chrf >= 99"]["n"] >= 1  # what it learnt from is left out
    assert ran(here)["bundle"] == found["bundle"]
    assert "AutoModelForSeq2SeqLM" in (exported(here, found["bundle"]) / "README.md").read_text()


def test_a_pretrained_model_sums_up_as_it_came_or_tuned(place: Path, here: Here):
    make_tiny_seq2seq(place / "bart")
    summing = {"more": ", backbones: [./bart]", "task": "summarization"}
    text = need(**summing).replace("methods: [nearest], ", "")
    (place / "need.yaml").write_text(text)
    plan = json.loads(here("plan", "need.yaml", "--json").out)
    assert [rung["rung"] for rung in plan["plan"]] == ["nearest", "untuned", "full"]
    text = need("untuned", 99, **summing).replace("chrf >= 99", "rouge_2 >= 0.9")
    (place / "need.yaml").write_text(text)
    found = ran(here)
    bundle = open_bundle(place / found["bundle"])
    assert bundle.manifest.lineage["replies"] == "written"
    assert "encoder.onnx" in bundle.manifest.files


def test_a_model_of_many_languages_is_told_which(place: Path, here: Here):
    tokens = ("__en__", "__zh__", "__de__")
    make_tiny_seq2seq(place / "many", "m2m_100", languages=tokens)
    text = need("untuned", 99, more=", backbones: [./many]")
    (place / "need.yaml").write_text(text)
    refused(here("plan", "need.yaml"), "knows 3 languages", "languages: {from")
    spoken = text.replace("  label: chinese\n", "  label: chinese\n  languages: {}\n")
    for said, words in (
        ("{from: en}", ("'to' is missing", "need.yaml, line 7")),
        ("{from: en, to: fr}", ("'fr'", "en, zh")),
    ):
        (place / "need.yaml").write_text(spoken.replace("{}", said))
        refused(here("plan", "need.yaml"), *words)
    (place / "need.yaml").write_text(spoken.replace("{}", "{from: en, to: zh}"))
    bundle = open_bundle(place / ran(here)["bundle"])
    file = json.loads((bundle.folder / "translator.json").read_text())
    ids = [byte_tokenizer().get_vocab_size() + at for at in range(3)]
    assert (file["before"], file["opening"]) == ([ids[0]], [1, ids[1]])
    assert ids[2] in file["silent"], "another language could be written"
    folder = exported(here, str(bundle.folder))
    told = json.loads((folder / "generation_config.json").read_text())
    assert (told["decoder_start_token_id"], told["forced_bos_token_id"]) == (1, ids[1])
    assert ids[2] in told["suppress_tokens"]
    assert ids[1] not in told["suppress_tokens"]
    reads = AutoTokenizer.from_pretrained(folder)
    assert reads("a")["input_ids"][0] == ids[0]
    other = spoken.replace("{}", "{from: en, to: zh}").replace("translation", "summarization")
    (place / "need.yaml").write_text(other)
    refused(here("plan", "need.yaml"), "data.languages", "summarization translates nothing")


def test_init_finds_the_columns(place: Path, here: Here):
    lines = (place / "rows.csv").read_text().splitlines()
    (place / "rows.csv").write_text("\n".join(["english,translation", *lines[1:]]) + "\n")
    for task, metric in (("translation", "chrf"), ("summarization", "rouge_l")):
        said = here("init", "rows.csv", "--task", task, "--to", "begun.yaml", "--force")
        assert said.status == 0, said.err
        begun = (place / "begun.yaml").read_text()
        assert "text: english" in begun
        assert "label: translation" in begun
        assert metric in begun
        assert "0 faults" in here("data", "check", "begun.yaml").out


def add(place: Path, *rows: str) -> None:
    with (place / "rows.csv").open("a") as file:
        file.writelines(f"{row}\n" for row in rows)


def test_slips_in_the_rows_are_said_with_their_place(place: Path, here: Here):
    add(
        place,
        "Delete %(count)s <b>files</b> of it?,删除文件？",
        "旧的猫和新的狗,the old cat and the dog",
    )
    said = here("plan", "need.yaml")
    assert said.status == 0, said.err
    assert "1 of 152 references lack a placeholder" in said.err
    assert "%(count)s" in said.err
    assert "row 151" in said.err
    assert "from zh to en" in said.err
    assert "row 152" in said.err


def test_texts_that_are_their_own_translation_are_said(place: Path, here: Here):
    texts = pairs(200, 9).texts
    add(place, *(f"{text} {i},{text} {i}" for i, text in enumerate(texts)))
    said = here("plan", "need.yaml")
    assert "their own translation" in said.err


def test_columns_that_hold_both_languages_alike_are_refused(place: Path, here: Here):
    lines = (place / "rows.csv").read_text().splitlines()
    half = [",".join(reversed(f"the {line}".split(","))) for line in lines[1:75]]
    rest = [f"the {line}" for line in lines[75:149]]
    (place / "rows.csv").write_text("\n".join([lines[0], *half, *rest]) + "\n")
    refused(here("plan", "need.yaml"), "other way round", "zh", "en")


def test_a_reference_that_the_tokenizer_cannot_write_is_refused(place: Path, here: Here):
    make_tiny_seq2seq(place / "bart")
    tiny_tokenizer().save(str(place / "bart" / "tokenizer.json"))
    (place / "need.yaml").write_text(need("untuned", more=", backbones: [./bart]"))
    refused(here("plan", "need.yaml"), "rows.csv, row 1", "could never be written")


def test_a_reference_that_the_tokenizer_writes_in_another_form_is_said(place: Path, here: Here):
    made = byte_tokenizer()
    made.normalizer = normalizers.NFKC()
    make_tiny_seq2seq(place / "bart")
    made.save(str(place / "bart" / "tokenizer.json"))
    add(place, '"red, blue","红，蓝"')
    (place / "need.yaml").write_text(need("untuned", more=", backbones: [./bart]"))
    said = here("plan", "need.yaml")
    assert said.status == 0, said.err
    assert "1 of 151 references in another form" in said.err
    assert "row 151" in said.err


def test_long_texts_and_longer_summaries_are_said(place: Path, here: Here):
    make_tiny_seq2seq(place / "bart")
    add(place, "red " * 50 + ",红")
    (place / "need.yaml").write_text(need("untuned", more=", backbones: [./bart]"))
    said = here("plan", "need.yaml")
    assert "its end is not read" in said.err
    swapped = need(task="summarization").replace("english", "x").replace("chinese", "english")
    (place / "need.yaml").write_text(swapped.replace("text: x", "text: chinese"))
    assert "longer than their text" in here("plan", "need.yaml").err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("chrf", "accuracy"), ("accuracy", "chrf")),
        (("methods: [nearest]", "methods: [lora]"), ("lora", "scratch")),
        (("methods: [nearest]", "methods: [untuned]"), ("from_scratch", "pretrained")),
        (("methods: [nearest]", "long_texts: windows"), ("windows",)),
        (("methods: [nearest]", "max_length: 64"), ("max_length",)),
        (("methods: [nearest]", "backbones: [minilm]"), ("encoder",)),
        (("chrf >= 5", "first_token_p95_ms <= 100"), ("at once", "latency_p95_ms")),
        (("  label: chinese", "  label: chinese\n  labels: [a, b]"), ("labels",)),
        (("  label: chinese", "  label: chinese\n  label_descriptions: {a: b}"), ("descriptions",)),
        (("chrf >= 5", "bleu >= 0.3"), ("0 to 100",)),
    ],
)
def test_a_need_that_they_have_no_use_for_is_refused(place, here, change, words):
    (place / "need.yaml").write_text(need().replace(*change))
    said = here("plan", "need.yaml")
    assert said.status == 2, said
    assert "Fix: " in said.err
    for word in words:
        assert word in said.err
