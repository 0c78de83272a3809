"""Fits through the gradient loop: everything that is not a closed form."""

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import nn

from sartor.core.protocols import Floats
from sartor.core.types import Examples
from sartor.models.loading import load_text_backbone
from sartor.tune.batching import Inputs, Tokens
from sartor.tune.dropout import set_dropout
from sartor.tune.generators import seeded
from sartor.tune.job import Job, Result
from sartor.tune.loop import Recipe, Rows, Watch, score, train


def fit_looped(job: Job, watch: Watch, *, bf16: bool, scored: int) -> Result:
    """Train one candidate, and fold it.

    Args:
        job: What to fit.
        watch: Checkpoints, deadline, progress.
        bf16: Whether the matrix products of training run in bfloat16.
        scored: Training rows to score at the end, drawn by seed.
    """
    task, method, loop = job.settings.task, job.settings.method, job.settings.loop
    encoder, tokenizer = load_text_backbone(job.backbone)
    pad = encoder.config.pad_token_id or 0
    rows = Rows(_tokens(tokenizer, job, job.train, pad), job.labels(job.train))
    held = Rows(_tokens(tokenizer, job, job.validation, pad), job.labels(job.validation))
    with seeded(job.candidate.seed):
        model = task.build(encoder, len(job.outputs))
        pretrained = frozenset(encoder.parameters())
        if loop.dropout is not None:
            set_dropout(model, loop.dropout)
        method.attach(model)
    weights = torch.from_numpy(task.weights(rows.labels, len(job.outputs)))
    recipe = Recipe(
        loop=loop,
        seed=job.candidate.seed,
        loss=lambda logits, labels: task.loss(
            logits, labels, weights.to(logits.device), loop.label_smoothing
        ),
        rate=lambda name: method.rate(name, max(model.layers)),
        bf16=bf16,
        method=method,
        pretrained=pretrained,
    )
    trained = train(model, (rows, held), recipe, watch)
    method.fold(model)
    model.cpu().eval()
    return Result(
        model,
        tokenizer,
        # In float32: these logits stand for the model that is exported.
        score(model, held.inputs),
        _score_sample(model, rows.inputs, (job.candidate.seed, scored), bf16=bf16),
        tuple(trained.history),
        trained.steps if trained.cut else None,
    )


def _tokens(tokenizer: Tokenizer, job: Job, examples: Examples, pad: int) -> Tokens:
    tokenizer.enable_truncation(job.cut)
    tokenizer.no_padding()
    # Lone surrogates have no UTF-8, and the tokenizer reads UTF-8.
    texts = [
        (job.backbone.prefix + text).encode("utf-8", "replace").decode()
        for text in examples.inputs["text"]
    ]
    return Tokens([encoding.ids for encoding in tokenizer.encode_batch(texts)], pad)


def _score_sample(
    model: nn.Module, inputs: Inputs, drawn: tuple[int, int], *, bf16: bool
) -> Floats:
    """(rows, outputs): logits of a sample, drawn as (seed, count) says, NaN elsewhere."""
    total, (seed, most) = len(inputs.lengths()), drawn
    chosen = np.sort(np.random.default_rng(seed).permutation(total)[:most])
    found = score(model, inputs, rows=chosen.tolist(), bf16=bf16)
    logits = np.full((total, found.shape[1]), np.nan, dtype=np.float32)
    logits[chosen] = found
    return logits
