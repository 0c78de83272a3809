"""Fits through the gradient loop: everything that is not a closed form."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from tokenizers import Tokenizer

from sartor.core.likelihood import fitting
from sartor.core.types import Examples
from sartor.models.by_piece import tokenise_by_piece
from sartor.models.loading import load_text_backbone
from sartor.models.packed import tokenise
from sartor.tasks._encoder.model import TextClassifier
from sartor.tune.api import Finds
from sartor.tune.batching import Tokens
from sartor.tune.closed import begin_solved
from sartor.tune.device import computing
from sartor.tune.dropout import set_dropout
from sartor.tune.frozen import FeatureSource
from sartor.tune.generators import seeded
from sartor.tune.job import Job, Result
from sartor.tune.loop import Recipe, Rows, Watch, score, train
from sartor.tune.scoring import log_loss, score_sample
from sartor.tune.solving import SolvesHead, begins_with, solve_head
from sartor.tune.stated import StateSource, Trainee, upper_part
from sartor.tune.teaching import Teaches, passages, teaching


class Source(FeatureSource, StateSource, Protocol):
    """The frozen encoder of a backbone behind its caches."""


def fit_looped(job: Job, source: Source, watch: Watch, *, bf16: bool, scored: int) -> Result:
    """Train one candidate, and fold it.

    Args:
        job: What to fit.
        source: The cached encoder, for a method that reads states and a task that mines negatives.
        watch: Checkpoints, deadline, progress.
        bf16: Whether the matrix products of training run in bfloat16.
        scored: Training rows to score at the end, drawn by seed.
    """
    task, method, loop = job.settings.task, job.settings.method, job.settings.loop
    encoder, tokenizer = load_text_backbone(job.backbone)
    pad = encoder.config.pad_token_id or 0
    truth = job.truth(job.train), job.truth(job.validation)
    tokens = (
        _tokens(tokenizer, job, job.train, pad),
        _tokens(tokenizer, job, job.validation, pad),
    )
    with seeded(job.candidate.seed):
        model = task.build(encoder, len(job.outputs), tokenizer)
        pretrained = frozenset(encoder.parameters())
        strength = begins_with(task)
        if strength is not None:
            begin_solved(model, job, source, strength)
        if loop.dropout is not None:
            set_dropout(model, loop.dropout)
        task.open(model, truth[0], fresh=strength is None)
        method.attach(model)
    weights = torch.from_numpy(task.weights(truth[0], len(job.outputs)))
    with _trainee(job, (model, tokenizer), tokens, source) as trainee:
        labels, objective = truth[0], None
        if trainee.passages is not None:
            labels, objective = teaching(job, trainee.model, trainee.passages, source)
        recipe = Recipe(
            loop=loop,
            seed=job.candidate.seed,
            loss=lambda logits, truth: task.loss(
                logits, truth, weights.to(logits.device), loop.label_smoothing
            ),
            rate=lambda name: method.rate(name, trainee.depth),
            bf16=bf16,
            method=method,
            pretrained=pretrained,
            objective=objective,
        )
        rows, held = Rows(trainee.learnt, labels), Rows(trainee.held, truth[1])
        trained = train(trainee.model, (rows, held), recipe, watch)
        history = list(trained.history)
        findings = method.findings(model) if isinstance(method, Finds) else {}
        method.fold(model)
        task.close(model)
        model.cpu().eval()
        trainee.model.cpu().eval()
        with computing(trainee.model):
            if isinstance(method, SolvesHead):
                solve_head(model, tokens[0], truth[0], (tuple(weights.tolist()), method.C))
            # In float32: these logits stand for the model that is exported. What was trained on
            # states reads them here too, as a head reads its activations: rounded as the cache
            # rounds, and without another pass through the layers that did not change.
            held_out = score(trainee.model, trainee.held)
            drawn = (job.candidate.seed, scored)
            sample = score_sample(trainee.model, trainee.train, drawn, bf16=bf16)
    held_out, sample = fitting(held_out, truth[1]), fitting(sample, truth[0])
    if isinstance(method, SolvesHead):
        history[-1] |= {"validation_log_loss": log_loss(held_out, truth[1])}
    return Result(
        model,
        tokenizer,
        held_out,
        sample,
        tuple(history),
        trained.steps if trained.cut else None,
        findings,
    )


@contextmanager
def _trainee(
    job: Job,
    opened: tuple[TextClassifier, Tokenizer],
    tokens: tuple[Tokens, Tokens],
    source: StateSource,
) -> Iterator[Trainee]:
    model, tokenizer = opened
    if job.settings.method.reads == "states":
        with upper_part(job, model, source) as found:
            yield found
        return
    words = None
    if isinstance(job.settings.task, Teaches):
        told = passages(job, tokenizer, tokens[0].pad)
        words = told, told
    yield Trainee(model, max(model.layers), tokens[0], tokens[0], tokens[1], words)


def _tokens(tokenizer: Tokenizer, job: Job, examples: Examples, pad: int) -> Tokens:
    tokenizer.enable_truncation(job.cut)
    tokenizer.no_padding()
    prefix = job.backbone.prefix
    if job.settings.task.by_piece:
        ids, marks = tokenise_by_piece(tokenizer, examples.texts, prefix)
        return Tokens(ids, pad, marks)
    return Tokens(tokenise(tokenizer, examples.texts, prefix), pad)
