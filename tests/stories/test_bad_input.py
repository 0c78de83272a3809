"""Every mistake that ends at the command line: status 2, what, where and fix, nothing lost."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.stories.conftest import Finished
from tests.stories.shop import NEED, Here, command, copy_of, refused, reviews, write_csv
from tests.tiny import make_tiny_bert

TRUNCATED = b"PAR1" + bytes(200)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("none.csv", None, ["none.csv", "no such file"]),
        ("empty.csv", b"", ["empty.csv"]),
        ("header.csv", b"text,label\n", ["header.csv"]),
        ("binary.csv", bytes(range(256)) * 20, ["binary.csv"]),
        ("cut.parquet", TRUNCATED, ["cut.parquet"]),
        ("columns.csv", b"body,team\na,b\n", ["text", "body"]),
        ("odd.zip", b"PK\x03\x04", ["odd.zip", ".csv"]),
    ],
)
def test_data_that_cannot_be_read_is_named(
    new_shop: Path, here: Here, name: str, content: bytes | None, words: list[str]
):
    if content is not None:
        (new_shop / name).write_bytes(content)
    (new_shop / "need.yaml").write_text(NEED.replace("reviews.csv", name))
    refused(here("run", "need.yaml"), *words)
    refused(here("plan", "need.yaml"), *words)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("accuracy >= 0.80", "acuracy >= 0.80", ["line 8", "acuracy", "accuracy"]),
        ("accuracy >= 0.80", "recall[label=goood] >= 0.8", ["line 8", "goood", "good"]),
        ("accuracy >= 0.80", 'accuracy[where: lang == "zh"] >= 0.8', ["line 8", "lang"]),
        ("accuracy >= 0.80", "recall[label=good] >= 1.2", ["line 8", "1.2"]),
        ("accuracy >= 0.80", "accuracy >= baseline + 0.03", ["line 8", "baseline"]),
        ("label: label", "lable: label", ["lable", "label"]),
        (
            "label: label",
            "label: label\n  label_descriptions: {goood: praise}",
            ["goood", "label_descriptions", "good"],
        ),
        ("text_classification", "text_clasification", ["text_classification"]),
        ("./tiny", "./none", ["none"]),
        ("prefer: {", "prefer: {methods: [lroa], ", ["lroa", "lora"]),
    ],
)
def test_a_need_that_cannot_be_is_refused_with_its_line(
    new_shop: Path, here: Here, before: str, after: str, words: list[str]
):
    (new_shop / "need.yaml").write_text(NEED.replace(before, after, 1))
    refused(here("run", "need.yaml"), *words)


def test_a_label_that_occurs_once_is_named(new_shop: Path, here: Here):
    write_csv(new_shop / "reviews.csv", [*reviews(60), ("it was so so", "middling")])
    checked = here("data", "check", "need.yaml")
    assert checked.status == 2
    assert "middling" in checked.out
    refused(here("run", "need.yaml"), "middling")


@pytest.mark.parametrize("file", ["none.yaml", "folder", "reviews.csv", "binary.yaml"])
def test_what_is_not_a_need_is_refused(new_shop: Path, here: Here, file: str):
    (new_shop / "folder").mkdir()
    (new_shop / "binary.yaml").write_bytes(bytes(range(256)))
    for name in ("run", "plan"):
        refused(here(name, file), file)


def test_weights_that_are_a_pickle_are_never_opened(new_shop: Path, here: Here):
    (new_shop / "tiny" / "model.safetensors").rename(new_shop / "tiny" / "pytorch_model.bin")
    refused(here("run", "need.yaml"), "safetensors", "tiny")


def test_an_unknown_method_is_refused_with_the_near_miss(new_shop: Path, here: Here):
    refused(here("run", "need.yaml", "--method", "lroa"), "lroa", "lora")


@pytest.mark.parametrize(
    ("mark", "words"),
    [("99\n", ["99", "upgrade"]), ("x\n", ["VERSION", "damaged"])],
)
def test_a_workspace_of_another_version_is_left_alone(
    new_shop: Path, here: Here, mark: str, words: list[str]
):
    (new_shop / ".sartor").mkdir()
    (new_shop / ".sartor" / "VERSION").write_text(mark)
    for arguments in (["run", "need.yaml"], ["report"], ["listen"], ["data", "show"]):
        refused(here(*arguments), *words)
    assert (new_shop / ".sartor" / "VERSION").read_text() == mark


def test_commands_that_need_a_run_say_that_there_is_none(new_shop: Path, here: Here):
    for arguments in (["report"], ["resume"], ["data", "show"]):
        refused(here(*arguments), "holds no run", "sartor run need.yaml")


def _edit(bundle: Path) -> str:
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["released"] = not manifest["released"]
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    return "manifest.json"


def _flip(bundle: Path) -> str:
    data = bytearray((bundle / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (bundle / "model.onnx").write_bytes(data)
    return "model.onnx"


def _add(bundle: Path) -> str:
    (bundle / "extra.py").write_text("print('never run')")
    return "extra.py"


def _lose(bundle: Path) -> str:
    (bundle / "tokenizer.json").unlink()
    return "tokenizer.json"


@pytest.mark.parametrize("damage", [_edit, _flip, _add, _lose])
def test_a_bundle_changed_by_hand_is_refused_by_file_name(
    shop: Finished, here: Here, damage: Callable[[Path], str]
):
    bundle = shop.bundle
    name = damage(bundle)
    (shop.folder / "one.jsonl").write_text("good\n")
    refused(here("predict", bundle, "one.jsonl"), name)
    refused(here("judge", bundle, "reviews.csv"), name)
    refused(here("serve", bundle), name)
    # Another run does not trust it either, nor overwrite it.
    assert here("run", "need.yaml").status == 0
    refused(here("predict", bundle, "one.jsonl"), name)
    assert len(list(bundle.parent.iterdir())) == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ["in.jsonl"]),
        (b'{"text": "a"\n', ["line 1"]),
        (b"fine\n\xff\xfe\n", ["line 2", "UTF-8"]),
        (b'{"txet": "a"}\n', ["line 1", "'text'"]),
        (b'{"text": 3}\n', ["line 1", "'text'"]),
        (b'one\n{"text": "\\ud800"}\n', ["line 2", "surrogate"]),
        (b'{"a":' * 100_000 + b"\n", ["line 1"]),
    ],
)
def test_predict_refuses_a_line_it_cannot_answer(
    shop: Finished, here: Here, content: bytes | None, words: list[str]
):
    if content is not None:
        (shop.folder / "in.jsonl").write_bytes(content)
    refused(here("predict", shop.bundle, "in.jsonl"), *words)


def test_predict_answers_odd_texts(shop: Finished, here: Here):
    lines = ['{"text": "a \\u0000 b"}', "", "好" * 100_000, '{"text": ""}']
    (shop.folder / "in.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    said = here("predict", shop.bundle, "in.jsonl")
    assert (said.status, len(said.out.splitlines())) == (0, 4), said.err


def test_an_option_that_does_not_exist_is_refused_without_a_traceback(new_shop: Path, here: Here):
    said = here("run", "need.yaml", "--metod", "lora")
    assert said.status == 2
    assert "--metod" in said.err
    assert "Traceback" not in said.err


def test_a_report_into_a_folder_that_is_not_there_says_so(shop: Finished, here: Here):
    refused(here("report", "--to", "none/r.html"), "none")
    refused(here("report", "--lang", "xx"), "xx")
    refused(here("feedback", "export", "said.txt"), "said.txt", ".jsonl")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system with room for a store and little more."""
    mount, unmount = shutil.which("mount"), shutil.which("umount")
    if os.geteuid() != 0 or not mount or not unmount:
        pytest.skip("only root can mount")
    place = tmp_path / "disk"
    place.mkdir()
    asked = [mount, "-t", "tmpfs", "-o", "size=900k", "tmpfs", str(place)]
    if subprocess.run(asked, capture_output=True, check=False).returncode:
        pytest.skip("this container may not mount")
    yield place
    subprocess.run([unmount, str(place)], check=True)


def test_a_full_disk_stops_cleanly_and_the_run_goes_on_once_there_is_room(
    new_shop: Path, small_disk: Path, here: Here
):
    filler = small_disk / "filler"
    filler.write_bytes(bytes(500_000))
    said = command("run", "need.yaml", "--workspace", small_disk, cwd=new_shop)
    refused(said, "pace")
    assert "disk" in said.err
    filler.unlink()
    roomy = copy_of(small_disk, new_shop / "roomy")
    if not (roomy / ".sartor" / "runs" / "1" / "run.json").exists():
        return
    again = here("resume", "--workspace", roomy, "--json")
    assert json.loads(again.out)["state"] == "met"


def test_a_need_that_no_backbone_is_small_enough_for_is_refused_before_anything_is_trained(
    new_shop: Path, here: Here
):
    (new_shop / "need.yaml").write_text(NEED.replace("size_mb <= 5", "size_mb <= 0.001"))
    for verb in ("plan", "run"):
        said = here(verb, "need.yaml")
        refused(said, "need.yaml, line 9", "size_mb <= 0.001 is out of reach", "write size_mb <= ")
    assert not list((new_shop / ".sartor").rglob("fitted"))


def test_a_rung_that_cannot_meet_the_need_is_left_out_of_the_plan_with_its_reason(
    new_shop: Path, here: Here
):
    make_tiny_bert(new_shop / "wide", width=128, layers=4)
    need = NEED.replace("size_mb <= 5", "size_mb <= 0.1")
    need = need.replace("[./tiny]", "[./tiny, ./wide], methods: [full]")
    (new_shop / "need.yaml").write_text(need)
    said = here("plan", "need.yaml")
    assert said.status == 0, said.err
    assert "Left out: full, ./wide. size_mb <= 0.1 is out of reach" in said.out
    found = json.loads(here("plan", "need.yaml", "--json").out)
    assert [each["label"] for each in found["plan"]] == ["./tiny"]
    assert [each["label"] for each in found["left_out"]] == ["./wide"]
