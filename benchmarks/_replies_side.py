"""Our LoRA on texts and replies, in a process of its own.

    python -m benchmarks._replies_side MODEL ROWS.jsonl STEPS SEED

Prints one JSON object: real tokens and seconds of the steps, and the mean loss of a token over the
last third of them, as trl states it.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig

from sartor.core.replies import Reply
from sartor.core.types import Candidate, Examples
from sartor.models.catalogue import find_backbone
from sartor.models.loading import load_language_model
from sartor.tune.batching import Budget, plan_epoch
from sartor.tune.decoder import Decoder
from sartor.tune.injected import inject
from sartor.tune.loop import Recipe, Rows, Watch, train
from sartor.tune.packing import Lessons
from sartor.tune.settings import Loop
from sartor.tune.writers.lora import linears, loss
from sartor.tune.writing import Reading, WritingJob


def main() -> None:
    model, file, steps, seed = sys.argv[1:]
    with Path(file).open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    texts, replies = zip(*((row["text"], Reply(row["reply"])) for row in rows), strict=True)
    examples = Examples(tuple(map(str, range(len(rows)))), {"text": texts}, replies)
    backbone = find_backbone(model, kind="llm")
    loop = Loop(epochs=100, max_steps=int(steps), batch_tokens=1024, evaluations=1)
    candidate = Candidate(backbone.name, backbone.sha256, "lora", {}, int(seed))
    held = examples.take(range(2))
    job = WritingJob(candidate, loop, backbone, examples, held, bf16=False)
    base = load_language_model(backbone)
    reading = Reading.of(job, base)
    decoder = Decoder(base)
    inject(decoder, LoraConfig(r=16, lora_alpha=32, target_modules=linears(base), bias="none"))
    lessons = Lessons.of(reading.lessons(examples))
    kept: list[float] = []

    def told(logits: Any, truth: Any) -> Any:
        kept.append(-logits[:, 0].detach().mean().item())
        return loss(logits, truth)

    recipe = Recipe(loop=loop, seed=int(seed), loss=told, rate=lambda _: 5e-4)
    zeros = torch.zeros(len(rows), dtype=torch.long).numpy()
    parts = Rows(lessons, zeros), Rows(Lessons.of(reading.lessons(held)), zeros[:2])
    done = train(decoder, parts, recipe, Watch())
    # An epoch's end may be an evaluation: of steps alone the loop's own clock tells.
    late = kept[-max(1, len(kept) // 3) :]
    plan = plan_epoch(lessons.lengths(), Budget(1024, loop.batch_rows), seed=int(seed), epoch=0)
    found = {
        "tokens": done.tokens,
        "seconds": done.seconds,
        "loss": sum(late) / len(late),
        "rows_a_step": len(rows) / len(plan),
    }
    print("\n" + json.dumps(found))


if __name__ == "__main__":
    main()
