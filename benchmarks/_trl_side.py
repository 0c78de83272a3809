# pyright: reportMissingImports=false
"""trl's SFTTrainer on texts and replies, in a Python that has it.

    python benchmarks/_trl_side.py MODEL ROWS.jsonl STEPS SEED plain|packing|lean

Prints one JSON object: real tokens and seconds of the steps after the first two, and the loss of
the last third. `plain` is its defaults in float32 with LoRA of rank 16 on all linear layers;
`packing` sets `packing` besides, with one sequence of 1,024 tokens a batch; `lean` leaves gradient
checkpointing off, which costs a pass.
"""

import json
import sys
import tempfile
import time
from typing import Any

from datasets import Dataset
from datasets.utils.logging import disable_progress_bar
from peft import LoraConfig
from transformers import AutoConfig, AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer

WARM = 2


class Clock(TrainerCallback):
    """Seconds and real tokens of each step."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.tokens: list[int] = []
        self.losses: list[float] = []
        self.read = 0
        self._began = 0.0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.read, self._began = 0, time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.seconds.append(time.perf_counter() - self._began)
        self.tokens.append(self.read)

    def on_log(self, *_: Any, logs: dict[str, float] | None = None, **__: Any) -> None:
        if logs and "loss" in logs:
            self.losses.append(logs["loss"])


def main() -> None:
    model, file, steps, seed, how = sys.argv[1:]
    disable_progress_bar()
    with open(file, encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    data = Dataset.from_list(
        [
            {
                "prompt": [{"role": "user", "content": row["text"]}],
                "completion": [{"role": "assistant", "content": row["reply"]}],
            }
            for row in rows
        ]
    )
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        more: dict[str, Any] = {}
        if how == "lean":
            more = {"gradient_checkpointing": False}
        if how == "packing":
            # It lays the sequences of a batch end to end, and attention pays for the square.
            more = {"per_device_train_batch_size": 1}
        config = SFTConfig(
            output_dir=folder,
            max_steps=int(steps),
            seed=int(seed),
            learning_rate=5e-4,
            packing=how == "packing",
            bf16=False,
            use_cpu=True,
            report_to="none",
            logging_steps=1,
            save_strategy="no",
            disable_tqdm=True,
            **more,
        )
        tokenizer: Any = AutoTokenizer.from_pretrained(model)
        if tokenizer.pad_token is None:  # a folder need not say it, and trl asks for it
            end = AutoConfig.from_pretrained(model).eos_token_id
            tokenizer.pad_token = tokenizer.eos_token = tokenizer.convert_ids_to_tokens(end)
        trainer = SFTTrainer(
            model=model,
            args=config,
            train_dataset=data,
            processing_class=tokenizer,
            callbacks=[clock],
            peft_config=LoraConfig(
                r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"
            ),
        )
        step: Any = trainer.training_step

        def counting(model: Any, inputs: Any, *more: Any) -> Any:
            # A batch that is packed without padding comes without a mask.
            mask = inputs.get("attention_mask")
            clock.read += int(inputs["input_ids"].numel() if mask is None else mask.sum())
            return step(model, inputs, *more)

        trainer.training_step = counting
        trainer.train()
    late = clock.losses[-max(1, len(clock.losses) // 3) :]
    found = {
        "tokens": sum(clock.tokens[WARM:]),
        "seconds": sum(clock.seconds[WARM:]),
        "loss": sum(late) / len(late),
    }
    print("\n" + json.dumps(found))


if __name__ == "__main__":
    main()
