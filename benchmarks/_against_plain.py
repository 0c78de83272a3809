"""A need's run against the script that people write, from one backbone and on the same rows.

Each side is a fresh process with nothing cached. Two times: until the model is fitted, and from the
start of the process to its end with the score known.
"""

import json
import random
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks._harness import Line, alternate, faster, spread, told_by

from sartor.models.catalogue import find_backbone
from sartor.models.scratch import NAME

BACKBONE = "e5_small"
PLAIN = "transformers.Trainer"
Row = dict[str, Any]


def as_transformers_reads(backbone: str, place: Path) -> str:
    """The folder of a backbone; with what AutoTokenizer needs where a starter comes without.

    Args:
        backbone: Its name.
        place: Folder in which another may be made, of links.
    """
    found = Path(find_backbone(backbone).path)
    if (found / "tokenizer_config.json").exists():
        return str(found)
    made = place / backbone
    made.mkdir()
    for file in found.iterdir():
        (made / file.name).symlink_to(file)
    special = {"pad": "<pad>", "unk": "<unk>", "cls": "<s>", "sep": "</s>", "mask": "<mask>"}
    told = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 512}
    told |= {f"{name}_token": token for name, token in special.items()}
    (made / "tokenizer_config.json").write_text(json.dumps(told), encoding="utf-8")
    return str(made)


@dataclass(frozen=True, slots=True)
class Run:
    """How one side did with one seed.

    Args:
        scores: By name, 0 to 1.
        fit_seconds: To a fitted model.
        seconds: To the score.
        answers: To the test rows, as the script prints them.
    """

    scores: Mapping[str, float]
    fit_seconds: float
    seconds: float
    answers: Sequence[Any] = field(default=(), repr=False)

    def values(self) -> list[float]:
        """For the result file."""
        return [*self.scores.values(), self.fit_seconds, self.seconds]


@dataclass(frozen=True, slots=True)
class Race:
    """What both sides are given, and how they are scored.

    Args:
        script: Module of the plain side, with what follows the seed on its command line.
        draw: Seed to training and test rows.
        ask: Training rows to the need, but for backbone and seed.
        answer: A bundle's folder and test rows to answers, as the script prints them.
        score: Answers and test rows to scores by name.
        backbone: Of both sides; one that is drawn, the script draws itself.
    """

    script: Sequence[str]
    draw: Callable[[int], tuple[list[Row], list[Row]]]
    ask: Callable[[list[Row]], dict[str, Any]]
    answer: Callable[[str, list[Row]], list[Any]]
    score: Callable[[list[Any], list[Row]], dict[str, float]]
    backbone: str = BACKBONE

    def run(self, methods: Sequence[str], seeds: int) -> dict[str, list[Run]]:
        """Side to its runs, one a seed; sides take turns in going first."""
        runs: dict[str, list[Run]] = {side: [] for side in (*methods, PLAIN)}
        for seed, side in alternate(list(runs), seeds):
            runs[side].append(self._one(side, seed))
            print(f"seed {seed}, {side}: {runs[side][-1]}", flush=True)
        return runs

    def _one(self, side: str, seed: int) -> Run:
        train, test = self.draw(seed)
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            for name, rows in (("train", train), ("test", test)):
                text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
                (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
            told, seconds = told_by(self._command(side, seed, folder, train))
            answers = told.get("answers") or self.answer(told["bundle"], test)
        return Run(self.score(answers, test), told["fit_seconds"], seconds, answers)

    def _command(self, side: str, seed: int, folder: Path, train: list[Row]) -> list[str]:
        if side == PLAIN:
            files = [str(folder / f"{name}.jsonl") for name in ("train", "test")]
            script, *options = self.script
            drawn = self.backbone == NAME
            start = NAME if drawn else as_transformers_reads(self.backbone, folder)
            plain = [sys.executable, "-m", script, start]
            return [*plain, *files, str(seed), *options]
        asked = self.ask(train)
        asked["data"] |= {"train": "train.jsonl", "test": "test.jsonl", "near_duplicates": False}
        asked |= {"prefer": {"backbones": [self.backbone], "ensemble": False}, "seed": seed}
        need = folder / "need.yaml"
        need.write_text(json.dumps(asked), encoding="utf-8")  # JSON is YAML
        return [sys.executable, "-m", "benchmarks._need_run", str(need), str(folder), side]


def held_out(rows: list[Row], key: str, share: float, seed: int) -> tuple[list[Row], list[Row]]:
    """Training rows in an order that the seed draws, and test rows.

    Args:
        rows: Of all groups.
        key: Of a row's group: no group is on both sides.
        share: Of the groups that test; the same ones for every seed.
        seed: Draws the order.
    """
    groups = sorted({row[key] for row in rows})
    held = set(random.Random(0).sample(groups, round(share * len(groups))))
    train = [row for row in rows if row[key] not in held]
    random.Random(seed).shuffle(train)
    return train, [row for row in rows if row[key] in held]


def lines_of(runs: Mapping[str, Sequence[Run]], where: str = "") -> list[Line]:
    """What the page shows of a race.

    Args:
        runs: From `Race.run`.
        where: On which rows, as ", slots".
    """
    lines: list[Line] = []
    for side, found in runs.items():
        who = PLAIN if side == PLAIN else f"ours, {side}"
        said = "; median, lowest, highest seed"
        for name in found[0].scores:
            scores = spread([100 * run.scores[name] for run in found])
            lines.append(Line.of(f"{name}{where}: {who}{said}", scores, "%"))
            said = ""
        seconds = spread([run.fit_seconds for run in found])
        lines.append(Line.of(f"Fitting{where}: {who}", seconds, "s"))
    plain = [run.fit_seconds for run in runs[PLAIN]]
    for side in [side for side in runs if side != PLAIN]:
        quick = faster([run.fit_seconds for run in runs[side]], plain)
        what = f"Faster to a fitted model{where}: {side}"
        lines.append(Line.of(what, quick, "times", against=PLAIN))
    return lines


def detail_of(runs: Mapping[str, Sequence[Run]]) -> dict[str, list[list[float]]]:
    """For the result file: side to the values of its runs."""
    return {side: [run.values() for run in found] for side, found in runs.items()}
