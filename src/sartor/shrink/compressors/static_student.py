"""A student without a network: a score for each token and class, learnt from the whole model.

logits = mean_t s(w_t) + b,   s = E·W + D,   min  L(logits) + λ_W |W|² + λ_D |D|²

E is the whole model's table of words, so tokens that no training text holds have a score too; D is
each seen token's own. L is the distillation loss (Hinton et al. 2015,
https://arxiv.org/abs/1503.02531) over the training texts, those without a label included; it is
convex, so L-BFGS ends at one point, whatever the seed. The two strengths are chosen on validation
rows. What is shipped is `tasks._encoder.static`: a table of (vocabulary, outputs), that
answers a hundred times and more as fast as an encoder, and knows no word order.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from annotated_types import Ge, Gt, Le
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_array

from sartor.core.types import Examples
from sartor.shrink.api import COMPRESSORS, Bench, Eased, Form, Place
from sartor.shrink.students import Whole, write_form
from sartor.tasks._decision.logits import softmax
from sartor.tasks._encoder.static import StaticClassifier

Wide = NDArray[np.float64]
_SHARED = (1e-4, 1e-3, 1e-2)
_OWN = (1e-6, 1e-5, 1e-4)
_ITERATIONS = 200


@COMPRESSORS.add
@dataclass(frozen=True, slots=True)
class StaticStudent:
    """Learns a table of scores from the whole model's answers."""

    eases: ClassVar[tuple[Eased, ...]] = ("size", "speed")
    trains: ClassVar[bool] = True
    place: ClassVar[Place] = "layers"

    temperature: Annotated[float, Gt(0), Le(100)] = 2.0
    """Both models' logits are divided by this in the teacher's part of the loss."""
    teacher_share: Annotated[float, Ge(0), Le(1)] = 0.7
    """Share of the teacher in the loss of a row that has a label; of one without it has all."""

    def compress(self, source: Form, target: Path, bench: Bench) -> None:
        whole = Whole.opened("static_student", source, bench)
        if not whole.one_label:
            raise whole.nothing("its table is fitted to one label a row")
        embedding: Any = whole.model.encoder.get_input_embeddings()
        words: Wide = embedding.weight.detach().numpy().astype(np.float64)
        counted = np.ones(len(words), np.bool_)
        counted[whole.special()] = False
        bags = _bags(whole, bench.train, counted)
        seen = np.flatnonzero(np.asarray(bags.sum(0)) > 0)
        if not len(seen):
            raise whole.nothing("no training text has a token that counts")
        lesson = _Lesson.of(self, whole, bags, (words, seen))
        truth = _labels(whole, bench.validation)
        held = _bags(whole, bench.validation, counted)
        tables = [lesson.table(shared, own) for shared in _SHARED for own in _OWN]
        scores, bias = min(tables, key=lambda t: _log_loss(held @ t[0] + t[1], truth))
        student = StaticClassifier(*scores.shape)
        with torch.no_grad():
            student.scores.copy_(torch.from_numpy(scores))
            student.bias.copy_(torch.from_numpy(bias))
            student.counted.copy_(torch.from_numpy(counted))
        write_form(student.eval(), source, target, bench.task)


@dataclass(frozen=True, slots=True)
class _Lesson:
    """What the table is fitted on.

    Args:
        words: (vocabulary, width) E, scaled so that mean texts have unit variance.
        seen: Tokens that training texts hold.
        texts: (rows, width) means of E.
        bags: (rows, seen) share of each token in a text.
        wanted: (rows, outputs) the teacher's probabilities at the temperature.
        labels: (rows, outputs) one-hot; zero for a row without one.
        temperature: Of the teacher's part.
        share: (rows, 1) of the teacher in a row's loss.
    """

    words: Wide
    seen: NDArray[np.intp]
    texts: Wide
    bags: Any
    wanted: Wide
    labels: Wide
    temperature: float
    share: Wide

    @staticmethod
    def of(
        settings: StaticStudent, whole: Whole, bags: Any, table: tuple[Wide, NDArray[np.intp]]
    ) -> "_Lesson":
        words, seen = table
        texts = bags @ words
        words = (words - texts.mean(0)) / np.maximum(texts.std(0), 1e-9)
        rows, outputs = whole.bench.train, whole.bench.outputs
        index = {name: i for i, name in enumerate(outputs)}
        known = np.array([index.get(str(t), -1) for t in rows.target or [None] * len(rows)])
        labels = (known[:, None] == np.arange(len(outputs))).astype(np.float64)
        share = np.where(known < 0, 1.0, settings.teacher_share)[:, None]
        wanted = softmax(whole.teacher().astype(np.float64) / settings.temperature)
        temperature = settings.temperature
        return _Lesson(words, seen, bags @ words, bags[:, seen], wanted, labels, temperature, share)

    def table(self, shared: float, own: float) -> tuple[Wide, Wide]:
        """(vocabulary, outputs) scores and (outputs,) bias at some strengths λ_W, λ_D."""
        width, seen, outputs = self.words.shape[1], len(self.seen), self.labels.shape[1]
        ends = np.cumsum([width * outputs, seen * outputs])

        def parts(flat: Wide) -> tuple[Wide, Wide, Wide]:
            w, d, b = np.split(flat, ends)
            return w.reshape(width, outputs), d.reshape(seen, outputs), b

        def loss(flat: Wide) -> tuple[float, Wide]:
            w, d, b = parts(flat)
            value, slope = self._loss(self.texts @ w + self.bags @ d + b)
            value += shared * float((w**2).sum()) + own * float((d**2).sum())
            gradient = [
                (self.texts.T @ slope + 2 * shared * w).ravel(),
                (self.bags.T @ slope + 2 * own * d).ravel(),
                slope.sum(0),
            ]
            return value, np.concatenate(gradient)

        start = np.zeros((width + seen + 1) * outputs)
        limits = {"maxiter": _ITERATIONS}
        found = minimize(loss, start, jac=True, method="L-BFGS-B", options=limits)
        w, d, b = parts(found.x)
        scores = self.words @ w
        scores[self.seen] += d
        return scores, b

    def _loss(self, logits: Wide) -> tuple[float, Wide]:
        """Mean distillation loss and its gradient by the logits; see `distillation` of tuning."""
        temperature, rows = self.temperature, len(logits)
        soft, hard = softmax(logits / temperature), softmax(logits)
        least = 1e-300
        told = temperature**2 * (self.wanted * np.log(np.maximum(self.wanted, least) / soft)).sum(1)
        own = -(self.labels * np.log(np.maximum(hard, least))).sum(1)
        mine = 1 - self.share
        value = float((self.share[:, 0] * told + mine[:, 0] * own).mean())
        slope = self.share * temperature * (soft - self.wanted) + mine * (hard - self.labels)
        return value, slope / rows


def _bags(whole: Whole, rows: Examples, counted: NDArray[np.bool_]) -> Any:
    """(rows, vocabulary) share of each counted token in a text."""
    found = whole.tokens(rows)
    places = np.repeat(np.arange(len(found)), found.lengths)
    kept = counted[found.flat]
    places, ids = places[kept], found.flat[kept]
    lengths = np.maximum(np.bincount(places, minlength=len(found)), 1)
    shape = (len(found), len(counted))
    return csr_array((1.0 / lengths[places], (places, ids)), shape=shape)


def _labels(whole: Whole, rows: Examples) -> NDArray[np.intp]:
    """(rows,) class indices."""
    return np.array([whole.bench.outputs.index(str(label)) for label in rows.target], np.intp)


def _log_loss(logits: Wide, truth: NDArray[np.intp]) -> float:
    # No validation rows: any strength is as good as another.
    if not len(truth):
        return 0.0
    return float(-np.log(np.maximum(softmax(logits), 1e-12))[np.arange(len(truth)), truth].mean())
