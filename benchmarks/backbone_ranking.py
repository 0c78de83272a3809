"""Which backbone: ranking on frozen activations against tuning every one of them.

    python -m benchmarks.backbone_ranking [--rows 400] [--problems reviews intents chinese_reviews]
                                          [--recorded]

Seven candidates: MiniLM and E5 small, the first layers of both, and both networks with random
weights, ranked on 256 training rows of product reviews, intents (English and Chinese) and Chinese
reviews. Ranking starts cold: nothing is cached, loading is counted, twins are encoded too.

The other side tunes all weights of every candidate on the same training rows (4 epochs in
batches of 8, otherwise the method's own settings, texts cut at 128 tokens, the best epoch by
validation rows) and scores it on test rows. `--recorded` takes that side from the result file
instead, with the machine it ran on.

Regret is the best candidate's test accuracy less that of the one chosen, on the same test rows. It
is given for our recommendation, for the first by each single score, and for whoever takes the
biggest. Takes about 20 minutes on two cores, nearly all of them tuning.
"""

import argparse
import csv
import json
import random
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks._harness import (
    RESULTS,
    ROOT,
    Interval,
    Line,
    arguments,
    bootstrap,
    finish,
    machine,
)

from sartor.core.activations import Activations
from sartor.core.events import silent
from sartor.core.types import Backbone, Candidate, Examples
from sartor.models.catalogue import find_backbone
from sartor.models.encode import EncodeSettings, TextEncoder
from sartor.models.loading import load_tokenizer
from sartor.models.precision import Precision, probe
from sartor.models.ranking.hscore import hscore
from sartor.models.ranking.logme import logme
from sartor.models.ranking.neighbours import knn_accuracy
from sartor.models.ranking.spectrum import spectrum
from sartor.models.variants import first_layers, random_twin
from sartor.search.choosing import Contest
from sartor.search.ranking import Ranking, Sample, draw_sample, rank
from sartor.tasks.text_classification.train import load
from sartor.tune.batching import Tokens
from sartor.tune.fit import TuneOptions, Tuner

CUT, RANKED, VALIDATION = 128, 256, 150
SIZES = (128, RANKED)
SETTINGS = {"lr": 1e-4, "epochs": 4, "batch_rows": 8}
"""Two hundred steps: of fifty, twenty intents are hardly learnt by the best of them."""
Row = dict[str, str]
PROBLEMS = ("reviews", "intents", "chinese_reviews")


@dataclass(frozen=True, slots=True)
class Rows:
    """Training, validation and test rows of one problem, and its labels."""

    train: Examples
    validation: Examples
    test: Examples
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tuned:
    """One candidate, tuned in full.

    Args:
        right: Of each test row, whether it was answered rightly.
        seconds: Wall time of the fit.
    """

    right: list[bool]
    seconds: float


def main() -> None:
    facts = machine()
    parser = arguments(__doc__)
    parser.add_argument("--rows", type=int, default=400, help="training rows")
    parser.add_argument("--test", type=int, default=800, help="test rows, at most")
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    parser.add_argument("--only", nargs="+", help="candidates, for a short try")
    parser.add_argument("--recorded", action="store_true", help="do not tune again")
    options = parser.parse_args()
    precision = probe()
    candidates = _candidates(options.only)
    old = _recorded() if options.recorded else {}
    lines: list[Line] = []
    detail: dict[str, Any] = {"rows": options.rows, "ranked_rows": RANKED, "settings": SETTINGS}
    detail |= {"precision": asdict(precision), "threads": torch.get_num_threads()}
    for name in options.problems:
        rows = _rows(name, options)
        ranking, seconds, picks = _rank(candidates, rows, precision)
        tuned = old.get(name) or _tune_all(candidates, rows, precision)
        found, entry = _summary(name, (ranking, seconds, picks), tuned)
        lines += found
        detail[name] = entry | {"test_rows": len(rows.test)}
        for line in found:
            print(line, flush=True)
    if old:
        detail["tuned_on"] = json.loads(_result().read_text(encoding="utf-8"))["machine"]
    finish("backbone_ranking", facts, lines, detail)


def _candidates(only: Sequence[str] | None) -> list[Backbone]:
    minilm, e5 = find_backbone("minilm"), find_backbone("e5_small")
    found = [
        minilm,
        first_layers(minilm, 4),
        first_layers(minilm, 2),
        e5,
        first_layers(e5, 6),
        random_twin(minilm, 0),
        random_twin(e5, 0),
    ]
    return [b for b in found if not only or b.name in only]


def _rows(name: str, options: argparse.Namespace) -> Rows:
    folder = ROOT / "examples" / name
    read = _read(folder / f"{name}.csv")
    own_test = folder / "test.csv"
    draw = random.Random(0)
    if own_test.exists():
        pool, test = read, _read(own_test)
    else:
        # Sentences of one template are alike: none of them may be on both sides.
        groups = sorted({row.get("template") or str(i) for i, row in enumerate(read)})
        tested = set(draw.sample(groups, round(0.4 * len(groups))))
        sides: dict[bool, list[Row]] = {True: [], False: []}
        for i, row in enumerate(read):
            sides[(row.get("template") or str(i)) in tested].append(row)
        pool, test = sides[False], sides[True]
    draw.shuffle(pool)
    draw.shuffle(test)
    outputs = tuple(sorted({row["label"] for row in pool}))
    known = [row for row in test if row["label"] in outputs]
    ends = (0, options.rows, options.rows + VALIDATION)
    parts = [_examples(pool[a:b]) for a, b in pairwise(ends)]
    return Rows(parts[0], parts[1], _examples(known[: options.test]), outputs)


def _read(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _examples(rows: Sequence[Row]) -> Examples:
    ids = tuple(f"{i}-{row['text']}" for i, row in enumerate(rows))
    texts = tuple(row["text"] for row in rows)
    return Examples(ids, {"text": texts}, tuple(row["label"] for row in rows))


def _rank(
    candidates: Sequence[Backbone], rows: Rows, precision: Precision
) -> tuple[Ranking, float, dict[str, str]]:
    """(ranking, seconds from cold, what each single score would have chosen)."""
    sample = draw_sample(rows.train, rows.outputs, RANKED, 0)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        cache = Activations(Path(folder))
        settings = EncodeSettings(max_length=CUT)
        encoders = {
            b.name: TextEncoder(b, cache, precision=precision, settings=settings)
            for b in candidates
        }
        contest = Contest(encoders, cache, precision, silent)
        real = [b for b in candidates if b.drawn is None]
        ranking = rank(
            real,
            sample,
            contest.encoder_for,
            sizes=SIZES,
            prices=contest.prices(real, sample),
            twins=[b for b in candidates if b.drawn is not None],
        )
        seconds = time.perf_counter() - began
        picks = _single_scores(real, sample, contest)
    picks |= {
        "recommended": ranking.recommended.standing.name,
        "biggest": ranking.biggest.standing.name,
    }
    return ranking, seconds, picks


def _single_scores(
    candidates: Sequence[Backbone], sample: Sample, contest: Contest
) -> dict[str, str]:
    """What each score alone puts first, on all the ranked rows: an ablation."""
    scores: dict[str, dict[str, float]] = {}
    for backbone in candidates:
        every = range(1, backbone.layers + 1)
        found = contest.encoder_for(backbone).features(sample.texts, every)  # pyright: ignore[reportArgumentType]
        layers = found.reshape(len(sample.texts), backbone.layers, backbone.width)
        mean, last = layers.mean(1), np.ascontiguousarray(layers[:, -1])
        for name, value in {
            "LogME": logme(spectrum(mean, sample.labels)),
            "LogME, last layer": logme(spectrum(last, sample.labels)),
            "H-score": hscore(spectrum(mean, sample.labels)),
            "nearest neighbours": knn_accuracy(mean, sample.labels),
        }.items():
            scores.setdefault(name, {})[backbone.name] = value
    return {name: max(of, key=lambda b: of[b]) for name, of in scores.items()}


def _tune_all(candidates: Sequence[Backbone], rows: Rows, precision: Precision) -> dict[str, Tuned]:
    found: dict[str, Tuned] = {}
    for backbone in candidates:
        with tempfile.TemporaryDirectory() as folder:
            found[backbone.name] = _tune(backbone, rows, precision, Path(folder))
        last = found[backbone.name]
        print(f"{backbone.name}: {np.mean(last.right):.3f} in {last.seconds:.0f} s", flush=True)
    return found


def _tune(backbone: Backbone, rows: Rows, precision: Precision, folder: Path) -> Tuned:
    options = TuneOptions(max_length=CUT, bf16=precision.dtype == "bfloat16")
    encoder = TextEncoder(
        backbone, None, precision=precision, settings=EncodeSettings(max_length=CUT)
    )
    tuner = Tuner({backbone.name: backbone}, lambda _: encoder, folder, rows.outputs, options)
    candidate = Candidate(backbone.name, backbone.sha256, "full", SETTINGS, 0)
    fitted = tuner(candidate, rows.train, rows.validation, silent)
    answers = _answers(fitted.folder, backbone, rows)
    right = [a == b for a, b in zip(answers, rows.test.target, strict=True)]
    return Tuned(right, fitted.seconds)


def _answers(folder: Path, backbone: Backbone, rows: Rows) -> list[str]:
    model, tokenizer = load(folder), load_tokenizer(folder)
    tokenizer.enable_truncation(CUT)
    texts = [backbone.prefix + text for text in rows.test.inputs["text"]]
    tokens = Tokens([e.ids for e in tokenizer.encode_batch_fast(texts)], 0)
    order, best = np.argsort(tokens.lengths()), np.zeros(len(texts), np.int64)
    with torch.inference_mode():
        for start in range(0, len(order), 16):
            batch = order[start : start + 16]
            best[batch] = model(*tokens.batch(batch)).argmax(1).numpy()
    return [rows.outputs[i] for i in best]


def _summary(
    name: str, ranked: tuple[Ranking, float, dict[str, str]], tuned: Mapping[str, Tuned]
) -> tuple[list[Line], dict[str, Any]]:
    ranking, seconds, picks = ranked
    spent = sum(one.seconds for one in tuned.values())
    best = max(tuned, key=lambda b: np.mean(tuned[b].right))
    lines = [
        Line(f"Ranking {len(tuned)} backbones from cold, {name}", seconds, "s"),
        Line(f"Tuning each of them in full, {name}", spent, "s"),
        Line(
            f"Ranking faster than tuning, {name}",
            spent / seconds,
            "times",
            against="full tuning of each",
            goal="at least 50×",
        ),
    ]
    regrets = {how: _regret(tuned[best].right, tuned[pick].right) for how, pick in picks.items()}
    shown = {"recommended": "our recommendation", "biggest": "taking the biggest"}
    for how, found in regrets.items():
        goal = "at most 0.5" if how == "recommended" else ""
        what = f"Regret, {name}: {shown.get(how, f'first by {how}')} ({picks[how]})"
        lines.append(Line.of(what, found, "points", against=f"the best tuned, {best}", goal=goal))
    scores = {e.standing.name: e.standing.logme.value for e in ranking.ranked}
    scores |= {s.name: s.logme.value for s in ranking.controls}
    entry = {
        "ranking": ranking.as_json(),
        "picks": picks,
        "tuned": {b: asdict(one) | {"accuracy": np.mean(one.right)} for b, one in tuned.items()},
        "rank_correlation": _kendall(
            [scores[b] for b in tuned], [float(np.mean(tuned[b].right)) for b in tuned]
        ),
    }
    return lines, entry


def _regret(best: Sequence[bool], chosen: Sequence[bool]) -> Interval:
    """Percentage points, test rows drawn anew."""
    pairs = np.column_stack([best, chosen]).astype(np.float64)
    return bootstrap([pairs], lambda parts: 100 * float((parts[0][:, 0] - parts[0][:, 1]).mean()))


def _kendall(one: Sequence[float], other: Sequence[float]) -> float:
    """Pairs in the same order less pairs in the other, as a share of all; −1 to 1."""
    first, second = np.sign(np.subtract.outer(one, one)), np.sign(np.subtract.outer(other, other))
    count = len(one) * (len(one) - 1)
    return float((first * second).sum() / count) if count else 0.0


def _result() -> Path:
    return RESULTS / "backbone_ranking.json"


def _recorded() -> dict[str, dict[str, Tuned]]:
    """Problem to what tuning gave, from the result file."""
    if not _result().exists():
        raise SystemExit("nothing is recorded: run once without --recorded")
    found = json.loads(_result().read_text(encoding="utf-8"))
    return {
        name: {b: Tuned(t["right"], t["seconds"]) for b, t in found[name]["tuned"].items()}
        for name in PROBLEMS
        if name in found
    }


if __name__ == "__main__":
    main()
