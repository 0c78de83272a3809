"""The ladder as built: order, settings that apply, prices of a grid."""

import pytest

from sartor.core.errors import UnknownName
from sartor.core.types import Backbone
from sartor.search.estimates import Work
from sartor.search.portfolio import FEWEST_ROWS, LEAST_STEPS, paced
from sartor.search.rungs import (
    Aim,
    Rung,
    build_rungs,
    method_order,
    states_ahead,
)
from sartor.tune.api import METHODS
from sartor.tune.settings import read_settings

AIM = Aim("text_classification", 7)


def backbone(name: str, layers: int) -> Backbone:
    return Backbone(name, "folder", "", name * 64, "MIT", ("en",), 1_000_000, layers, 64)


def rungs_of(*backbones: Backbone, methods: list[str] | None = None):
    work = Work(1000, 100, 1100, 100.0)
    rungs, dropped = build_rungs(backbones, method_order(methods), AIM, lambda *_: work)
    assert not dropped
    return rungs


def test_cheaper_methods_come_first_and_others_only_when_asked_for():
    ladder = method_order(None)
    places = {name: METHODS.get(name).rung for name in METHODS.names()}  # type: ignore[attr-defined]
    own = ("tabular_text", "retrieval", "question_answering", "recommendation", "mastery")
    for task in own:
        places |= dict.fromkeys(set(method_order(None, task=task)) - set(ladder))
    places["contrastive"] = None  # where rows are few
    assert [n for n in ladder if n in ("head", "lora", "full")] == ["head", "lora", "full"]
    assert "contrastive" not in ladder
    asking = method_order(None, llm=True)
    assert [places[n] for n in asking] == sorted(p for p in places.values() if p is not None)
    assert [n for n in asking if n != "prompted"] == ladder, "without an LLM there is none to ask"
    assert asking.index("head") < asking.index("prompted") < asking.index("top_layers")
    assert method_order(["contrastive"]) == ["contrastive"]
    assert method_order(["full", "head"]) == ["full", "head"]
    few = method_order(None, few=True)
    assert [n for n in few if n != "contrastive"] == ladder
    assert few.index("head") < few.index("contrastive") < few.index("top_layers")
    for task in ("multi_label", "text_pair", "token_classification", "retrieval"):
        assert "contrastive" not in method_order(None, task=task, few=True)
    with pytest.raises(UnknownName, match="lroa"):
        method_order(["lroa"])


def test_every_backbone_is_tried_by_a_cheap_method_before_a_dear_one():
    found = rungs_of(backbone("a", 6), backbone("b", 6), methods=["head", "lora"])
    seen = [(r.name, r.candidates[0].backbone) for r in found]
    assert seen == [("head", "a"), ("head", "b"), ("lora", "a"), ("lora", "b")]
    assert {c.seed for r in found for c in r.candidates} == {7}
    assert [r.together for r in found] == [True, True, False, False]


def test_settings_that_read_a_layer_the_backbone_lacks_are_left_out():
    (deep,) = rungs_of(backbone("a", 6), methods=["head"])
    (flat,) = rungs_of(backbone("a", 1), methods=["head"])
    portfolio = METHODS.get("head").portfolio()  # type: ignore[attr-defined]
    assert [dict(c.settings) for c in deep.candidates] == list(portfolio)
    assert 0 < len(flat.candidates) < len(deep.candidates)
    assert all(min(c.settings["layers"]) >= -2 for c in flat.candidates)


def test_a_rung_on_states_asks_for_the_layer_below_what_it_trains():
    asked: list[tuple[str, int | None]] = []

    def work(backbone: Backbone, layer: int | None) -> Work:
        asked.append((backbone.name, layer))
        return Work(1_000_000, 100_000, 0 if layer == 3 else 1_100_000, 100.0)

    (cached,), _ = build_rungs([backbone("a", 6)], ["top_layers"], AIM, work)
    (fresh,), _ = build_rungs([backbone("b", 12)], ["top_layers"], AIM, work)

    assert asked == [("a", None), ("a", 3), ("b", None), ("b", 9)]
    assert cached.candidates[0].settings["top"] == 3
    assert cached.estimate.disk_mb == fresh.estimate.disk_mb > 0
    assert cached.estimate.seconds.low < fresh.estimate.seconds.low


def test_half_of_the_tokens_is_priced_as_half_and_where_each_counts_as_all():
    def seconds(task: str) -> float:
        aim = Aim(task, 7)
        work = Work(1_000_000, 0, 0, 100.0)
        ((rung,), _) = build_rungs([backbone("a", 6)], ["top_layers"], aim, lambda *_: work)
        return rung.estimate.seconds.low

    start = 4.0
    whole, some = seconds("token_classification") - start, seconds("text_classification") - start
    assert some == pytest.approx(whole / 2)


def test_documents_are_priced_beside_the_rows_that_they_tell():
    def rung(name: str, **documents: int) -> Rung:
        work = Work(1_000_000, 0, 0, 100.0, **documents)
        ((found,), _) = build_rungs(
            [backbone("a", 6)], [name], Aim("retrieval", 7), lambda *_: work
        )
        return found

    for name in ("top_layers", "lora"):
        alone, told = rung(name), rung(name, told_tokens=2_000_000)
        start = 4.0
        ratio = (told.estimate.seconds.low - start) / (alone.estimate.seconds.low - start)
        assert ratio == pytest.approx(3)
    kept = rung("top_layers", passage_tokens=500_000).estimate.disk_mb
    assert kept == pytest.approx(1.5 * rung("top_layers").estimate.disk_mb)


def test_settings_that_train_more_layers_than_there_are_are_left_out():
    (rung,) = rungs_of(backbone("a", 1), methods=["top_layers"])
    assert {c.settings["top"] for c in rung.candidates} == {1}


def test_what_folds_fit_again_is_priced_so_often_and_no_epochs_beyond_the_steps():
    work = Work(4_000, 400, 4_400, 100.0)

    def seconds(rows: int, *, few: bool) -> float:
        aim = Aim("text_classification", 7, rows=rows, few=few)
        ((rung,), _) = build_rungs([backbone("a", 6)], ["contrastive"], aim, lambda *_: work)
        return rung.estimate.seconds.low

    assert seconds(160, few=True) == pytest.approx(5 * seconds(160, few=False))
    assert seconds(160, few=False) < seconds(0, few=False), "a hundred epochs, as far as is known"


@pytest.mark.parametrize("rows", [40, 300, 700])
@pytest.mark.parametrize("name", ["top_layers", "lora", "full", "adapter"])
def test_few_rows_are_read_in_batches_so_small_that_they_are_steps_enough(name: str, rows: int):
    work = Work(1000, 100, 1100, 100.0)
    aim = Aim("text_classification", 7, rows=rows)
    ((rung,), _) = build_rungs([backbone("a", 6)], [name], aim, lambda *_: work)
    portfolio = METHODS.get(name).portfolio()  # type: ignore[attr-defined]
    for candidate, plain in zip(rung.candidates, portfolio, strict=True):
        loop = read_settings(candidate.settings, task=aim.task, method=name).loop
        steps = rows * loop.epochs / loop.batch_rows
        assert steps >= LEAST_STEPS or loop.batch_rows == FEWEST_ROWS
        assert rows * loop.epochs / (loop.batch_rows + 1) < LEAST_STEPS, "smaller than it need be"
        assert {**candidate.settings, "batch_rows": 0} == {**plain, "batch_rows": 0}


@pytest.mark.parametrize(
    ("name", "settings", "rows"),
    [
        ("full", {"lr": 1e-4, "epochs": 3}, 2_000),
        ("full", {"lr": 1e-4, "epochs": 3}, 0),
        ("full", {"lr": 1e-4, "epochs": 40}, 300),
        ("full", {"lr": 1e-4, "batch_rows": 16}, 300),
        ("contrastive", {"lr": 1e-4, "epochs": 3, "batch_rows": 64}, 300),
        ("head", {"layers": [-1], "C": 0.1}, 300),
    ],
)
def test_batches_stay_where_rows_are_enough_or_unknown_or_the_settings_name_them(
    name: str, settings: dict[str, object], rows: int
):
    assert paced(settings, name, "text_classification", rows) == settings


def test_states_are_kept_ahead_where_a_rung_reads_few_of_them_after_another_has_encoded():
    a, flat = backbone("a", 6), backbone("b", 1)
    found = rungs_of(a, methods=["head", "top_layers"])
    assert states_ahead(found, "text_classification", {"a": a}) == {"a": 3}
    assert states_ahead(found[:1], "text_classification", {"a": a}) == {}
    assert states_ahead(found[::-1], "text_classification", {"a": a}) == {}, "nobody encodes before"
    assert states_ahead(found, "retrieval", {"a": a}) == {"a": 3}, "documents are texts too"
    assert states_ahead(found, "text_pair", {"a": a}) == {}
    assert states_ahead(found, "token_classification", {"a": a}) == {}
    many = Work(10_000_000, 100, 1100, 100.0)
    order = method_order(["head", "top_layers"])
    heavy, _ = build_rungs([a], order, AIM, lambda *_: many)
    assert states_ahead(heavy, "text_classification", {"a": a}) == {}, "1.3 GB for what may not be"
    assert states_ahead(rungs_of(flat, methods=["head"]), "text_classification", {"b": flat}) == {}
