"""Some of the tokens: what a step of the top layers gains by reading a share of each text.

    python -m benchmarks.token_share [--draws 3] [--rows 3000] [--settings 2:1 2:0.5 3:0.5 …]

A draw parts the training rows of the reviews: three quarters, or `--rows` at most, are learnt from,
the rest are scored on. Each setting is a number of MiniLM's top layers and the share of a text's
tokens that a step reads; two epochs, the first learning rate of the portfolio, one seed a draw, the
same batches. The scored rows choose nothing but a temperature, for the log-loss. Lines are each
setting's gains over the first one with Student's 95 % interval over draws; a time is the median
over draws of how many times longer the first one's fit takes. States of the layer below are made
before a fit is timed. About 15 minutes on two cores, twice that without AVX-512.
"""

import csv
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from benchmarks._harness import (
    ROOT,
    Line,
    alternate,
    arguments,
    finish,
    machine,
    median_ratio,
    paired,
    spread,
)

from sartor.core.activations import Activations
from sartor.core.events import silent
from sartor.core.likelihood import fit_temperature, losses
from sartor.core.types import Candidate, Examples
from sartor.models.catalogue import find_backbone
from sartor.models.encode import TextEncoder
from sartor.models.precision import probe
from sartor.tune.fit import TuneOptions, Tuner

LEARNT, LR, EPOCHS = 0.75, 3e-4, 2
SETTINGS = ("2:1", "2:0.5", "3:0.5", "3:0.25")


@dataclass(frozen=True, slots=True)
class Fit:
    """How one fit did on the rows that it did not see.

    Args:
        accuracy: In percent.
        log_loss: In nats, after a temperature.
        seconds: Of the fit, with what it scores at its end.
    """

    accuracy: float
    log_loss: float
    seconds: float


def main() -> None:
    facts = machine()
    parser = arguments(__doc__)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--rows", type=int, default=3_000)
    parser.add_argument("--settings", nargs="+", default=SETTINGS, help="layers:share")
    options = parser.parse_args()
    found: dict[str, list[Fit]] = {name: [] for name in options.settings}
    with tempfile.TemporaryDirectory() as folder:
        trials = Trials.of(options.rows, Path(folder))
        for draw, name in alternate(options.settings, options.draws):
            found[name].append(trials.fit(name, draw))
            print(f"draw {draw + 1}, {name}: {found[name][-1]}", flush=True)
    detail = {name: [asdict(fit) for fit in fits] for name, fits in found.items()}
    finish("token_share", facts, _lines(found), {"fits": detail})


@dataclass(frozen=True, slots=True)
class Trials:
    """What all fits share.

    Args:
        rows: The reviews, each text once.
        most: Rows to learn from, at most.
        encoder: MiniLM behind its caches.
        tuner: Fits.
        outputs: The labels.
    """

    rows: Sequence[Mapping[str, str]]
    most: int
    encoder: TextEncoder
    tuner: Tuner
    outputs: list[str]

    @staticmethod
    def of(most: int, folder: Path) -> "Trials":
        with (ROOT / "examples" / "reviews" / "reviews.csv").open(
            newline="", encoding="utf-8"
        ) as f:
            rows = list({row["text"]: row for row in csv.DictReader(f)}.values())
        backbone, precision = find_backbone("minilm"), probe()
        caches = Activations(folder / "activations"), Activations(folder / "states")
        encoder = TextEncoder(backbone, caches[0], states_cache=caches[1], precision=precision)
        outputs = sorted({row["label"] for row in rows})
        options = TuneOptions(bf16=precision.dtype == "bfloat16")
        tuner = Tuner({backbone.name: backbone}, lambda _: encoder, folder, outputs, options)
        return Trials(rows, most, encoder, tuner, outputs)

    def fit(self, name: str, draw: int) -> Fit:
        top, share = name.split(":")
        learnt, scored = self._parted(draw)
        backbone = self.encoder.backbone
        for texts in (learnt.texts, scored.texts):
            self.encoder.states(texts, backbone.layers - int(top)).close()
        settings = {
            "top": int(top),
            "lr": LR,
            "epochs": EPOCHS,
            "token_share": float(share),
            "kept": "last",
        }
        candidate = Candidate(backbone.name, backbone.sha256, "top_layers", settings, draw)
        began = time.perf_counter()
        logits = self.tuner(candidate, learnt, scored, silent).validation_logits
        seconds = time.perf_counter() - began
        truth = np.array([self.outputs.index(label) for label in scored.target])
        loss = losses(logits / fit_temperature(logits, truth), truth).mean()
        return Fit(100 * float((logits.argmax(1) == truth).mean()), float(loss), seconds)

    def _parted(self, draw: int) -> tuple[Examples, Examples]:
        order = np.random.default_rng([7, draw]).permutation(len(self.rows))
        end = int(LEARNT * len(order))
        return self._examples(order[: min(end, self.most)]), self._examples(order[end:])

    def _examples(self, places: np.ndarray) -> Examples:
        rows = [self.rows[place] for place in places]
        texts, labels = (tuple(row[name] for row in rows) for name in ("text", "label"))
        return Examples(tuple(map(str, places)), {"text": texts}, labels)


def _lines(found: Mapping[str, Sequence[Fit]]) -> list[Line]:
    first, *others = found
    lines: list[Line] = []
    for name, fits in found.items():
        shown = f"{_words(name)}; median, lowest, highest draw"
        lines.append(Line.of(f"Accuracy, {shown}", spread([f.accuracy for f in fits]), "%"))
    for name in others:
        pairs = list(zip(found[name], found[first], strict=True))
        against = _words(first)
        for what, gained, unit in (
            ("accuracy", [a.accuracy - b.accuracy for a, b in pairs], "points"),
            ("log-loss", [a.log_loss - b.log_loss for a, b in pairs], "nats"),
        ):
            line = Line.of(f"{_words(name)}, {what}", paired(gained), unit, against=against)
            lines.append(line)
        faster = median_ratio([b.seconds for _, b in pairs], [a.seconds for a, _ in pairs])
        lines.append(Line.of(f"{_words(name)}, time", faster, "times", against=against))
    return lines


def _words(name: str) -> str:
    top, share = name.split(":")
    return f"top {top} layers on {float(share):.0%} of the tokens"


if __name__ == "__main__":
    main()
