"""Fits in closed form: methods that read the frozen encoder's cached, pooled activations."""

from collections.abc import Mapping, Sequence
from typing import cast

from sartor.core.errors import SettingError
from sartor.models.loading import load_text_backbone
from sartor.tune.api import ClosedForm
from sartor.tune.frozen import ClosedFit, FeatureSource, Frozen, Point
from sartor.tune.generators import seeded
from sartor.tune.job import Job, Result


def fit_closed(job: Job, source: FeatureSource, descriptions: Mapping[str, str]) -> Result:
    """Fit one candidate and build its model."""
    (fit,) = fit_together([job], source, descriptions)
    if fit.made is not None:
        return Result(*fit.made, fit.validation_logits, fit.train_logits)
    encoder, tokenizer = load_text_backbone(job.backbone)
    with seeded(job.candidate.seed):
        model = fit.build(encoder).eval()
    return Result(model, tokenizer, fit.validation_logits, fit.train_logits)


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
        method = cast("ClosedForm", job.settings.method)
        fits = method.fit_all(frozen, [_point(jobs[i]) for i in places])
        found |= dict(zip(places, fits, strict=True))
    return [found[i] for i in range(len(jobs))]


def _point(job: Job) -> Point:
    task = job.settings.task
    if task.focal:
        raise SettingError(
            f"focal={task.focal}, but a head is fitted in closed form, by cross-entropy.",
            fix="leave focal out, or choose a method that is descended on, such as lora.",
        )
    weights = task.weights(job.truth(job.train), len(job.outputs))
    layers = task.resolve(job.backbone.layers)
    return Point(job.settings.method, layers, tuple(weights.tolist()), job.candidate.seed)
