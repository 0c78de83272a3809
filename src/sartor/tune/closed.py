"""Fits in closed form: methods that read the frozen encoder's cached, pooled activations."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from sartor.core.errors import SettingError
from sartor.models.loading import load_text_backbone
from sartor.tune.api import METHODS, ClosedForm
from sartor.tune.frozen import ClosedFit, FeatureSource, Frozen, Point
from sartor.tune.generators import seeded
from sartor.tune.job import Job, Result
from sartor.tune.unrolled import MOST, ReadsPieces, Unrolled

_DESCENDED = {"focal": "cross-entropy", "huber": "least squares"}
"""Settings of tasks that only descending minds, and what a closed form minimises in their place."""


def fit_closed(job: Job, source: FeatureSource, descriptions: Mapping[str, str]) -> Result:
    """Fit one candidate and build its model."""
    (fit,) = fit_together([job], source, descriptions)
    if fit.made is not None:
        return Result(*fit.made, fit.validation_logits, fit.train_logits)
    encoder, tokenizer = load_text_backbone(job.backbone)
    with seeded(job.candidate.seed):
        model = fit.build(encoder).eval()
    return Result(model, tokenizer, fit.validation_logits, fit.train_logits)


def begin_solved(model: Any, job: Job, source: FeatureSource, strength: float) -> None:
    """Put the frozen encoder's head in place of the one that was drawn; states come from the cache.

    Args:
        model: From the task's `build`, before anything was trained.
        job: What is fitted.
        source: The cached encoder of the job's backbone.
        strength: C of the head's penalty.

    Raises:
        DataError: If all rows have the same label.
        SettingError: If the encoder cuts texts elsewhere than the job.
    """
    settings = replace(job.settings, method=METHODS.get("head")(C=strength))
    (fit,) = fit_together([replace(job, settings=settings)], source, {})
    solved: Any = fit.build(model.encoder)
    model.head.load_state_dict(solved.head.state_dict())


def fit_together(
    jobs: Sequence[Job], source: FeatureSource, descriptions: Mapping[str, str]
) -> list[ClosedFit]:
    """Fit candidates of one method on one backbone and the same rows.

    Raises:
        SettingError: If the encoder cuts texts elsewhere than the job.
    """
    job = jobs[0]
    if source.max_length != job.cut:
        raise SettingError(
            f"the encoder cuts texts at {source.max_length} tokens, the tuner at {job.cut}.",
            fix="give both the same max_length: a head must serve what it was fitted on.",
        )
    found: dict[int, ClosedFit] = {}
    # What is read of a row may depend on the task's settings: those that agree share their work.
    groups: dict[object, list[int]] = {}
    for i, each in enumerate(jobs):
        rows = each.settings.task.reads(source)
        groups.setdefault(None if rows is source else rows, []).append(i)
    for places in groups.values():
        task = jobs[places[0]].settings.task
        frozen = Frozen(
            backbone=job.backbone,
            source=source,
            train=job.train.texts,
            validation=job.validation.texts,
            labels=job.truth(job.train),
            held=job.truth(job.validation),
            outputs=job.outputs,
            descriptions=descriptions,
            rows=task.reads(source),
            build=task.on,
            code=job.code,
        )
        points = [_point(jobs[i]) for i in places]
        fits = _fitted(cast("ClosedForm", job.settings.method), frozen, points)
        found |= dict(zip(places, fits, strict=True))
    return [found[i] for i in range(len(jobs))]


def _fitted(method: ClosedForm, frozen: Frozen, points: Sequence[Point]) -> Sequence[ClosedFit]:
    """One a point; of answers about pieces every piece is a row (see `unrolled`)."""
    source = frozen.rows
    if not isinstance(source, ReadsPieces):
        return method.fit_all(frozen, points)
    train = Unrolled.of(frozen.labels, source.read(frozen.train), MOST)
    held = Unrolled.of(frozen.held, source.read(frozen.validation))
    flat = replace(
        frozen,
        train=[frozen.train[row] for row in train.rows],
        labels=train.labels,
        held=held.labels,
    )
    return [
        replace(
            fit,
            validation_logits=held.rolled(fit.validation_logits),
            train_logits=train.rolled(fit.train_logits),
        )
        for fit in method.fit_all(flat, points)
    ]


def _point(job: Job) -> Point:
    task = job.settings.task
    for name, how in _DESCENDED.items():
        if value := getattr(task, name, 0.0):
            raise SettingError(
                f"{name}={value}, but a head is fitted in closed form, by {how}.",
                fix=f"leave {name} out, or choose a method that is descended on, such as lora.",
            )
    weights = task.weights(job.truth(job.train), len(job.outputs))
    layers = task.resolve(job.backbone.layers)
    return Point(job.settings.method, layers, tuple(weights.tolist()), job.candidate.seed)
