"""What the benchmark scripts compute from what they measured, and that all of them are run."""

import ast
import json
import re

import numpy as np
import pytest
from benchmarks import page
from benchmarks.__main__ import NAMES, SHORT
from benchmarks._harness import ROOT, Interval, Line, _portable, gate, median_ratio, paired
from benchmarks.serving_peers import RATES, Window, between, held

FOLDER = ROOT / "benchmarks"
SCRIPTS = sorted(path.stem for path in FOLDER.glob("[!_]*.py") if path.stem != "page")


def test_every_script_that_measures_is_run_with_the_others():
    assert sorted(NAMES) == SCRIPTS
    assert set(SHORT) <= set(NAMES)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_says_what_it_measures_and_how_to_run_it(name):
    text = ast.get_docstring(ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8")))
    assert text is not None
    assert f"python -m benchmarks.{name}" in text


@pytest.mark.parametrize("name", SHORT)
def test_options_that_keep_a_benchmark_short_are_options_it_has(name):
    text = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    for option in SHORT[name]:
        if option.startswith("--"):
            assert f'add_argument("{option}"' in text


def test_a_ratio_is_the_median_over_rounds_of_pairs():
    # The slow round slows both sides: the ratio of sums would be 2.5, that of medians 2.
    found = median_ratio([2.0, 2.0, 30.0], [1.0, 1.0, 10.0])
    assert found.middle == 2.0
    assert found.low == 2.0
    assert found.high == 3.0


def test_a_ratio_bought_with_quality_says_that_it_does_not_count():
    assert gate(True, "loss +0.2") == ""
    assert "does not count: loss +0.2" in gate(False, "loss +0.2")


def test_the_interval_of_paired_differences_is_students():
    found = paired([1.0, 2.0, 3.0])
    # t of 2 degrees of freedom is 4.303, the standard error 1/√3.
    assert found.middle == pytest.approx(2.0)
    assert found.high - found.middle == pytest.approx(4.303 / np.sqrt(3), rel=1e-3)
    assert paired([1.5]) == Interval(1.5, 1.5, 1.5)


def test_the_page_shows_results_and_no_trace_of_a_peer(tmp_path):
    line = Line("Speed", 2.0, "times")
    shown = {"lines": [{"what": line.what, "value": 2.0, "unit": "times"}], "machine": {}}
    (tmp_path / "speed.json").write_text(json.dumps(shown))
    (tmp_path / "speed_peer.json").write_text(json.dumps({"trials": [], "machine": {}}))
    assert list(page.results(tmp_path)) == ["speed"]


def test_the_page_says_how_each_of_them_is_measured():
    text = page.PAGE.read_text(encoding="utf-8").partition(page.BEGIN)[0]
    assert set(NAMES) <= set(re.findall(r"`(\w+)`", text))


def test_a_committed_result_names_no_path_of_the_machine_it_was_measured_on():
    for place in (FOLDER / "results").glob("*.json"):
        command = (
            json.loads(place.read_text(encoding="utf-8")).get("machine", {}).get("command", "")
        )
        assert not re.search(r"(^|[\s'\"])/", command), f"{place.name}: {command}"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("--rounds", "--rounds"),
        (".sartor/bundles/a-1", ".sartor/bundles/a-1"),
        ("/any/where/.sartor/bundles/a-1", ".sartor/bundles/a-1"),
        ("/any/where/bin/python", "python"),
    ],
)
def test_a_result_names_a_place_in_a_workspace_or_only_a_name(given, shown):
    assert _portable(given) == shown


def test_a_rate_is_held_up_to_where_one_in_a_hundred_is_late():
    def rounds(*windows: tuple[float, int, int]) -> list[list[Window]]:
        return [[Window(rate, sent, (late, 0), 1.0, 1.0) for rate, sent, late in windows]]

    assert held(rounds((10, 100, 0), (20, 200, 0), (40, 400, 12)), 0) == pytest.approx(20 + 20 / 3)
    assert held(rounds((10, 100, 2), (20, 200, 4)), 0) == 0.0
    assert held(rounds((10, 100, 0), (20, 200, 0)), 0) == 20.0, "as high as was asked"
    lucky = rounds((10, 100, 2), (20, 400, 1), (40, 400, 40))
    assert 20 < held(lucky, 0) < 40, "shares do not fall as rates rise: 3 of 500 up to 20"
    assert held(rounds((10, 100, 9)), 1) == 10.0, "each limit has its own"
    fast, slow = rounds((10, 100, 0), (20, 200, 0)) * 2, rounds((10, 100, 5)) * 2
    assert between(fast, slow, 0).middle == 20 / RATES[0], "who holds nothing holds the lowest"
