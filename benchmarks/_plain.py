"""What the scripts have in common that most tutorials show: `transformers.Trainer` as it comes."""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback

Row = dict[str, Any]


def read(path: str) -> list[Row]:
    """Rows of a JSON Lines file."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@contextmanager
def trained(
    model: Any, tokenizer: Any, rows: Sequence[Any], how: Mapping[str, Any], collator: Any = None
) -> Iterator[Trainer]:
    """A trainer that has trained.

    Args:
        model: Of transformers; trained in place.
        tokenizer: Pads a batch where no collator does.
        rows: A mapping each, as the model takes them.
        how: Arguments of `TrainingArguments`: epochs, batch, learning rate, seed.
        collator: Of transformers.
    """
    with tempfile.TemporaryDirectory() as output:
        arguments = TrainingArguments(
            output_dir=output,
            per_device_eval_batch_size=32,
            report_to="none",
            disable_tqdm=True,
            **how,
        )
        trainer = Trainer(
            model=model,
            args=arguments,
            train_dataset=rows,  # type: ignore[arg-type]  # any sequence of mappings
            data_collator=collator,
            processing_class=tokenizer,
        )
        # It would print a table into the answer.
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        yield trainer
