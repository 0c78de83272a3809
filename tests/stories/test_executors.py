"""Where fits are made: what is refused at once, and what a worker makes of a parcel."""

import fcntl
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sartor import pipeline
from sartor.core.errors import ModelError, SettingError, UnknownName, WorkspaceError
from sartor.core.events import silent
from sartor.core.types import Candidate
from sartor.search.executing import EXECUTORS, find_executor
from sartor.search.executors._parcel import Mark, Order, Parcel, fit_order
from sartor.search.fitting import Bench, fit_group
from sartor.search.ladder import Scored
from sartor.search.pruning import Bar
from sartor.tune.fit import TuneOptions, Tuner
from tests.stories.shop import NEED, Here, refused
from tests.stories.test_columns import NEED as COLUMNS
from tests.stories.test_columns import write_cases


def closed_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def test_an_executor_is_a_file_and_its_name_is_what_on_takes():
    assert EXECUTORS.names() == ["local", "ray"]
    find_executor("local")
    with pytest.raises(UnknownName, match="did you mean 'local'"):
        find_executor("locla")


@pytest.mark.parametrize(
    ("on", "words"),
    [
        ("local:here", "takes no address"),
        ("ray://head:10001", "names no cluster"),
        ("ray:head", "names no cluster"),
    ],
)
def test_an_address_that_cannot_be_one_is_refused(on: str, words: str):
    with pytest.raises(SettingError, match=words):
        find_executor(on)


def test_without_ray_a_run_on_it_says_what_to_install_and_begins_nothing(
    new_shop: Path, here: Here, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("sartor.search.executors.ray.find_spec", lambda name: None)
    refused(here("run", "need.yaml", "--on", "ray"), "pip install 'sartor[ray]'")
    assert not (new_shop / ".sartor").exists()


def test_a_cluster_that_does_not_answer_is_told_at_once(new_shop: Path, here: Here):
    began = time.monotonic()
    on = f"ray:127.0.0.1:{closed_port()}"
    refused(here("run", "need.yaml", "--on", on), "cannot be reached", "ray status")
    assert time.monotonic() - began < 60
    assert not (new_shop / ".sartor").exists()


def test_a_workspace_is_shared_where_its_token_and_its_lock_are_seen(tmp_path: Path):
    path = tmp_path / ".sartor" / "runs" / "1" / "shared"
    mark = Mark(str(path), "here")
    assert mark.fault() == "it does not see"
    path.parent.mkdir(parents=True)
    path.write_text("elsewhere")
    assert mark.fault() == "it sees another folder at"
    path.write_text("here")
    assert "locks" in mark.fault(), "nobody holds it: a lock taken there does not hold here"
    with path.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert mark.fault() == ""
        mark.require()
    with pytest.raises(WorkspaceError, match="cannot fit for this run") as told:
        mark.require()
    assert str(tmp_path / ".sartor") in told.value.what
    assert "--workspace" in told.value.fix


class Facts:
    def __init__(self) -> None:
        self.held: dict[str, Any] = {}

    def fact(self, name: str, find: Callable[[], Any]) -> Any:
        return self.held.setdefault(name, find())

    def recall(self, name: str) -> Any:
        return self.held.get(name)


@pytest.fixture
def bench(new_shop: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.chdir(new_shop)
    ready = pipeline.plan("need.yaml")
    rows = ready.setting.rows
    tuner = Tuner(
        ready.backbones,
        lambda backbone: ready.encoders[backbone.name],
        Path(".sartor/fits"),
        ready.setting.held.outputs,
        TuneOptions(max_length=256, facts=Facts()),
    )
    return Bench(tuner, rows.train, rows.validation)


@contextmanager
def marked(place: Path) -> Iterator[Mark]:
    path = place / ".sartor/runs/1/shared"
    path.parent.mkdir(parents=True)
    path.write_text("token")
    with path.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield Mark(str(path), "token")


@pytest.fixture
def mark(bench: Bench, new_shop: Path) -> Iterator[Mark]:
    with marked(new_shop) as found:
        yield found


def candidates(bench: Bench, method: str, settings: list[dict[str, Any]]) -> list[Candidate]:
    (backbone,) = bench.tuner.backbones.values()
    return [Candidate(backbone.name, backbone.sha256, method, s, 0) for s in settings]


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("head", [{"layers": [-1], "C": 1.0}, {"layers": [-2], "C": 0.1}]),
        ("head", [{"layers": [-9], "C": 1.0}, {"layers": [-1], "C": 1.0}]),
        ("bitfit", [{"epochs": 1}]),
    ],
)
def test_a_parcel_is_fitted_as_the_bench_it_was_made_of(
    bench: Bench, mark: Mark, method: str, settings: list[dict[str, Any]]
):
    import torch

    group = candidates(bench, method, settings)
    parcel = Parcel.of(bench, mark, torch.get_num_threads())
    answer = fit_order(parcel, Order(group, {}, Bar(), time.time() + 600))
    assert answer.refused is None
    found = list((Path(".sartor") / "fits").glob("*/fitted"))
    assert len(found) == (method == "bitfit"), "a worker's fit lies in the workspace"
    expected = fit_group(bench, group, silent)
    for mine, theirs in zip(answer.results, expected, strict=True):
        if isinstance(theirs, Exception):
            assert isinstance(mine, SettingError)
            assert str(mine) == str(theirs)
        else:
            assert isinstance(mine, Scored)
            np.testing.assert_array_equal(mine.validation_logits, theirs.validation_logits)
    assert list((Path(".sartor") / "fits").glob("*/fitted")) == found


def test_what_a_fit_encodes_for_all_later_ones_is_told_apart_from_its_own_time(bench: Bench):
    first, later = (
        fit_group(bench, candidates(bench, "head", [{"C": c} for c in cs]), silent)
        for cs in ((1.0, 0.1), (0.3,))
    )
    for each in (*first, *later):
        assert isinstance(each, Scored)
        assert (each.encoding > 0) is any(each is one for one in first)
        assert each.encoding <= each.seconds


def test_columns_without_a_text_are_fitted_though_no_model_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_cases(tmp_path / "credit.csv")
    (tmp_path / "need.yaml").write_text(COLUMNS)
    monkeypatch.chdir(tmp_path)
    ready = pipeline.plan("need.yaml")
    rows, held = ready.setting.rows, ready.setting.held
    tuner = Tuner(
        ready.backbones,
        lambda backbone: ready.encoders[backbone.name],
        Path(".sartor/fits"),
        held.outputs,
        TuneOptions(task="tabular_text", facts=Facts(), code=ready.code),
    )
    bench = Bench(tuner, rows.train, rows.validation)
    group = ready.setting.rungs[0].candidates[:1]
    with marked(tmp_path) as mark:
        answer = fit_order(Parcel.of(bench, mark, 1), Order(group, {}, Bar(), time.time() + 600))
    assert answer.refused is None, answer.refused
    (mine,), (theirs,) = answer.results, fit_group(bench, group, silent)
    assert isinstance(mine, Scored)
    assert isinstance(theirs, Scored)
    np.testing.assert_array_equal(mine.validation_logits, theirs.validation_logits)


def test_where_the_clock_cut_a_workers_fit_is_told_and_a_worker_that_knows_cuts_there_again(
    bench: Bench, mark: Mark
):
    import torch

    group = candidates(bench, "bitfit", [{"epochs": 4}])
    parcel = Parcel.of(bench, mark, torch.get_num_threads())
    late = fit_order(parcel, Order(group, {}, Bar(), time.time() - 1))
    (name,) = late.facts
    assert name == bench.tuner.ending(group[0], bench.train, bench.validation).name
    assert late.facts[name] == {"cut": 1}
    again = fit_order(parcel, Order(group, late.facts, Bar(), time.time() + 600))
    (one,), (other,) = late.results, again.results
    assert isinstance(one, Scored)
    assert isinstance(other, Scored)
    assert (one.cut, other.cut) == (1, 1)
    assert again.facts == {}
    np.testing.assert_array_equal(one.validation_logits, other.validation_logits)


def test_a_worker_with_other_weights_or_another_workspace_refuses_the_whole_run(
    bench: Bench, mark: Mark
):
    group = candidates(bench, "head", [{"C": 1.0}])
    order = Order(group, {}, Bar(), time.time() + 600)
    Path(mark.path).write_text("another")
    assert isinstance(fit_order(Parcel.of(bench, mark, 1), order).refused, WorkspaceError)
    Path(mark.path).write_text("token")
    (name,) = bench.tuner.backbones
    weights = Path(bench.tuner.backbones[name].path) / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    error = fit_order(Parcel.of(bench, mark, 1), order).refused
    assert isinstance(error, ModelError)
    assert "other weights" in error.what


def test_a_run_remembers_where_its_fits_are_made(new_shop: Path, here: Here):
    (new_shop / "need.yaml").write_text(NEED)
    assert here("run", "need.yaml", "--method", "head", "--json").status == 0
    kept = json.loads((new_shop / ".sartor" / "runs" / "1" / "need.json").read_text())
    assert kept["on"] == "local"
    fits = json.loads(here("report", "--json").out)["machine"]["fits"]
    assert (fits["on"], fits["at_once"]) == ("local", 1)
