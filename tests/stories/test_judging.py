"""Judging without a run: a bundle on fresh rows, and anything else on the need's rows."""

import json
import subprocess
import sys
from pathlib import Path

from sartor.bundle import open_bundle, write_bundle
from tests.stories.conftest import Finished
from tests.stories.shop import Here, environment, refused, reviews, write_csv

_NO_TORCH = """
import sys
sys.modules["torch"] = sys.modules["transformers"] = None
from sartor.cli import main
main()
"""


def without_torch(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _NO_TORCH, *map(str, arguments)],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def asking_for(accuracy: str, source: Path, folder: Path) -> Path:
    """The same content under a need that asks for another accuracy."""
    bundle = open_bundle(source)
    text = bundle.path("need.yaml").read_text().replace(">= 0.80", f">= {accuracy}")
    content = {n: bundle.path(n) for n in ("model.onnx", "tokenizer.json")}
    plain = bundle.manifest.model_copy(update={"verdicts": [], "released": False})
    return write_bundle(folder, plain, content, text).folder


def test_a_bundle_is_judged_on_fresh_rows_without_torch(shop: Finished):
    write_csv(shop.folder / "fresh.csv", reviews(300, seed=5))
    said = without_torch("judge", shop.bundle, "fresh.csv", "--json", cwd=shop.folder)
    assert said.returncode == 0, said.stderr
    found = json.loads(said.stdout)
    assert found["state"] == "met"
    assert found["verdicts"][0]["n"] == 300
    assert "look 1 at them" in found["notes"][0]


def test_rows_that_the_bundle_learnt_from_are_left_out(shop: Finished, here: Here):
    learnt = [json.loads(x) for x in here("data", "show", "--split", "train").out.splitlines()]
    chosen = [json.loads(x) for x in here("data", "show", "--split", "validation").out.splitlines()]
    seen = [(r["text"], r["label"]) for r in (*learnt, *chosen)]
    write_csv(shop.folder / "seen.csv", [(f"  {text} ", label) for text, label in seen])
    refused(here("judge", shop.bundle, "seen.csv"), f"every row of seen.csv ({len(seen)})")

    write_csv(shop.folder / "fresh.csv", reviews(300, seed=5))
    fresh = json.loads(here("judge", shop.bundle, "fresh.csv", "--json").out)
    write_csv(shop.folder / "mixed.csv", [*seen[:40], *reviews(300, seed=5), *seen[-40:]])
    mixed = json.loads(here("judge", shop.bundle, "mixed.csv", "--json").out)
    assert mixed["verdicts"] == fresh["verdicts"]
    assert "80 further rows are left out" in mixed["notes"][1]
    assert "left out" not in " ".join(fresh["notes"])


def test_fresh_rows_are_read_as_a_run_reads_them(shop: Finished, here: Here):
    rows = reviews(300, seed=5)
    write_csv(shop.folder / "fresh.csv", rows)
    fresh = json.loads(here("judge", shop.bundle, "fresh.csv", "--json").out)
    lacking = [("  ", "good"), ("never labelled", ""), ("nor this", "NaN"), ("or that", "  ")]
    spaced = [(f" {text}\u200b  ", f" {label} ") for text, label in rows]
    write_csv(shop.folder / "odd.csv", [*lacking, *spaced])
    odd = json.loads(here("judge", shop.bundle, "odd.csv", "--json").out)
    assert odd["verdicts"] == fresh["verdicts"]
    assert odd["notes"][1] == (
        "4 rows cannot be judged and are left out: no label (3), empty text (1)."
        " The first is odd.csv, row 1."
    )
    assert "count as wrong" not in " ".join(odd["notes"])


def test_a_bundle_that_does_not_say_what_it_learnt_from_is_judged_all_the_same(
    shop: Finished, here: Here, tmp_path: Path
):
    old = asking_for("0.70", shop.bundle, tmp_path / "old")
    write_csv(shop.folder / "fresh.csv", reviews(30, seed=5))
    found = json.loads(here("judge", old, "fresh.csv", "--json").out)
    assert "does not say which rows it learnt from" in found["notes"][1]
    assert found["verdicts"][0]["n"] == 30


def test_training_without_torch_says_what_to_install(shop: Finished):
    said = without_torch("run", "need.yaml", cwd=shop.folder)
    assert (said.returncode, said.stdout) == (2, "")
    assert "pip install 'sartor[train]'" in said.stderr
    assert "Traceback" not in said.stderr


def test_looks_at_fresh_rows_are_counted_until_the_set_is_worn(
    shop: Finished, here: Here, tmp_path: Path
):
    write_csv(shop.folder / "fresh.csv", reviews(300, seed=5))
    first = json.loads(here("judge", shop.bundle, "fresh.csv", "--json").out)
    again = json.loads(here("judge", shop.bundle, "fresh.csv", "--json").out)
    assert again == first, "the same bundle, rows and criteria: no new look"
    write_csv(shop.folder / "fresh.csv", [*reviews(300, seed=5), ("a good price", "good")])
    grown = json.loads(here("judge", shop.bundle, "fresh.csv", "--json").out)
    assert "look 2 at them" in grown["notes"][0], "one row more does not make them fresh"

    widths: list[float] = []
    for look, threshold in enumerate(("0.79", "0.78", "0.77", "0.76"), 3):
        other = asking_for(threshold, shop.bundle, tmp_path / f"b{look}")
        found = json.loads(here("judge", other, "fresh.csv", "--json").out)
        assert f"look {look} at them" in found["notes"][0]
        accuracy = found["verdicts"][0]
        widths.append(accuracy["high"] - accuracy["low"])
        assert found["state"] == ("met" if look <= 5 else "unproven"), found
    assert widths == sorted(widths), "each look must clear a higher bar"


def test_a_rival_is_compared_on_the_same_rows_pair_by_pair(shop: Finished, here: Here):
    test = here("data", "show", "--split", "test").out.splitlines()
    rows = [json.loads(line) for line in test]
    rival = [{"id": r["id"], "label": "good" if "good" in r["text"] else "bad"} for r in rows]
    (shop.folder / "rival.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rival))
    said = here("judge", "need.yaml", "--predictions", "rival.jsonl", "--json")
    found = json.loads(said.out)
    assert said.status == 1, "it knows one word of ten"
    (difference,) = [d for d in found["differences"] if d["n"]]
    right = sum(r["label"] == a["label"] for r, a in zip(rows, rival, strict=True))
    assert difference["n"] == len(rows) == 120
    assert abs(difference["rival"] - right / 120) < 1e-9
    assert difference["value"] < 0
    assert difference["low"] < difference["high"] < 0
    assert abs(difference["value"] - (difference["rival"] - difference["bundle"])) < 1e-9


def test_judging_refuses_what_it_cannot_use(shop: Finished, here: Here):
    refused(here("judge", shop.bundle), "either fresh rows or --predictions")
    refused(here("judge", shop.bundle, "none.csv"), "none.csv")
    refused(here("judge", "need.yaml", "--predictions", "none.jsonl"), "none.jsonl")
    (shop.folder / "odd.jsonl").write_text('{"label": "sideways"}\n')
    refused(here("judge", "need.yaml", "--predictions", "odd.jsonl"), "odd.jsonl")
    write_csv(shop.folder / "other.csv", [("good", "elsewhere")])
    said = here("judge", shop.bundle, "other.csv")
    assert said.status == 1
    assert "1 rows have labels that the bundle does not know" in said.out
    assert "elsewhere (1)" in said.out
