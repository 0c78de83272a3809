"""Fits in closed form: heads on the frozen encoder's cached, pooled activations."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import torch

from sartor.core.errors import SettingError
from sartor.core.protocols import Floats
from sartor.core.types import Examples
from sartor.models.loading import load_text_backbone
from sartor.tasks.text_classification.train import TextClassifier
from sartor.tune.generators import seeded
from sartor.tune.heads import HeadData, HeadSetting, fit_heads
from sartor.tune.job import Job, Result
from sartor.tune.methods.head import Head


class FeatureSource(Protocol):
    """Texts to pooled hidden states, through the activation cache."""

    @property
    def max_length(self) -> int:
        """Tokens a text is cut at."""
        ...

    def features(self, texts: Sequence[str], layers: Sequence[int]) -> Floats:
        """(texts, len(layers) * width)."""
        ...


def fit_closed(job: Job, source: FeatureSource) -> Result:
    """Fit one head and put it on the backbone."""
    setting = head_setting(job)
    fit = fit_heads(head_data(job, source), [setting])[0]
    encoder, tokenizer = load_text_backbone(job.backbone)
    with seeded(job.candidate.seed):
        model = TextClassifier(encoder, len(job.outputs), setting.layers).eval()
    with torch.no_grad():
        model.head.weight.copy_(torch.from_numpy(fit.weight))
        model.head.bias.copy_(torch.from_numpy(fit.bias))
    return Result(model, tokenizer, fit.validation_logits, fit.train_logits)


def head_data(job: Job, source: FeatureSource) -> HeadData:
    """What all heads on the job's backbone and rows share.

    Raises:
        SettingError: If the encoder cuts texts elsewhere than the job.
    """
    if source.max_length != job.cut:
        raise SettingError(
            f"the encoder cuts texts at {source.max_length} tokens, the tuner at {job.cut}.",
            fix="give both the same max_length: a head must serve what it was fitted on.",
        )

    def features(examples: Examples) -> Callable[[tuple[int, ...]], Floats]:
        texts = examples.inputs["text"]
        return lambda layers: source.features(texts, layers)

    return HeadData(
        train=features(job.train),
        validation=features(job.validation),
        labels=job.labels(job.train),
        outputs=len(job.outputs),
    )


def head_setting(job: Job) -> HeadSetting:
    """The job's point of the grid."""
    task, method = job.settings.task, job.settings.method
    if task.focal:
        raise SettingError(
            f"focal={task.focal}, but a head is fitted in closed form, by cross-entropy.",
            fix="leave focal out, or choose a method that is descended on, such as lora.",
        )
    assert isinstance(method, Head), "only a head reads activations"
    weights = task.weights(job.labels(job.train), len(job.outputs))
    layers = task.resolve(job.backbone.layers)
    return HeadSetting(layers, cast("Any", method).C, tuple(weights.tolist()))
