"""`sartor cost` on a real bundle: the figures agree with one another, mistakes are told."""

import json
import sys
from pathlib import Path

import pytest

from sartor.bundle import Bundle, record_verdicts, write_bundle
from sartor.cli import main
from tests.serve.conftest import LABELS, manifest_of, parts  # noqa: F401

NEED = """name: tickets
task: text_classification
data: {train: tickets.csv, text: text, label: label}
accept: [accuracy >= 0.5]
costs:
  target: vm
  price_per_1000: 0.5
  targets: {vm: {rent_per_month: 40, vcpus: 1, currency: USD}}
"""


@pytest.fixture
def bundle(parts: dict[str, Path], tmp_path: Path) -> Bundle:  # noqa: F811
    made = write_bundle(tmp_path / "bundle", manifest_of(), parts, NEED)
    return record_verdicts(made, [], released=False)


def said(monkeypatch, capsys, *words: object) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["sartor", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    code = ended.value.code
    return int(code) if isinstance(code, int) else 0, out, err


def test_the_figures_follow_from_what_was_measured_and_the_prices(
    bundle, monkeypatch, capsys, tmp_path
):
    texts = tmp_path / "texts.txt"
    texts.write_text('money back\n{"text": "tax bill"}\n')
    status, out, _ = said(
        monkeypatch, capsys, "cost", bundle.folder, "--requests", 5000, "--price", 2,
        "--texts", texts, "--json",
    )  # fmt: skip
    assert status == 0
    found = json.loads(out)
    rows = {row["target"]: row for row in found["targets"]}
    cpu = found["cpu_ms"][0] / 1000
    assert found["processes"] == 6
    assert found["conditions"] == "this machine, batch 1, 1 threads"
    assert rows["vm"]["monthly"] == [[40, 40, 40]]
    assert rows["vm"]["margin_monthly"] == [[2 * 5 - 40] * 3]
    # A machine is priced by what a request takes in company.
    busy = found["busy_ms"][0] / 1000
    assert cpu > 0
    assert rows["vm"]["per_1000"][0] == pytest.approx(1000 * 40 * busy / (0.5 * 730.5 * 3600))
    low = rows["lambda"]["monthly"][0][0]
    assert low == min(row["monthly"][0][0] for row in rows.values())
    assert found["cheapest"] == ["lambda"]
    assert found["requests"] == [5000]


@pytest.mark.parametrize(
    ("words", "what", "fix"),
    [
        (["--price", "-1"], "price_per_1000 cannot be -1", "above 0"),
        (["--requests", "0"], "requests cannot be 0", "above 0"),
        (["--threads", "0"], "threads must be at least 1", "leave it out"),
        (["--target", "lamda"], "no prices for the target 'lamda'", "did you mean 'lambda'"),
        (["--prices", "none.yaml"], "file of prices does not exist", "correct the path"),
        (["--texts", "none.txt"], "cannot be read", "check the path"),
    ],
)
def test_a_mistake_is_told_before_anything_is_measured(
    bundle, monkeypatch, capsys, words, what, fix
):
    status, out, err = said(monkeypatch, capsys, "cost", bundle.folder, *words)
    assert (status, out) == (2, "")
    assert what in err
    assert fix in err
    assert "Traceback" not in err
