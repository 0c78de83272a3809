"""The script for translation that most tutorials show, on a model that knows nothing yet.

    python -m benchmarks._plain_translator from_scratch TRAIN.jsonl TEST.jsonl SEED [EPOCHS]

`transformers.Trainer` with `DataCollatorForSeq2Seq` on `english` and `chinese`, cut at 128 tokens;
batch 16 padded to its longest, all training rows, and `generate` with four beams. Since no
pretrained model is at hand, network and tokenizer are those that ours draws of the training rows
(`sartor.models.scratch`), and it learns as long and as fast as ours by default: 40 epochs, learning
rate 1e-3, label smoothing 0.1; the tutorials' 2e-5 for two epochs is meant for a model that
translates already. Prints one JSON object: the translations of the test rows, and the seconds that
training took.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks._plain import Row, read, trained
from transformers import (
    AutoModelForSeq2SeqLM,
    DataCollatorForSeq2Seq,
    PreTrainedTokenizerFast,
    set_seed,
)

from sartor.models.scratch import write_scratch

_MOST, _BATCH = 128, 32


def main() -> None:
    _, train_file, test_file, seed, *epochs = sys.argv[1:]
    began = time.perf_counter()
    set_seed(int(seed))
    train, test = read(train_file), read(test_file)
    with tempfile.TemporaryDirectory() as place:
        texts = [row[side] for side in ("english", "chinese") for row in train]
        write_scratch(texts, int(seed), Path(place))
        tokenizer: Any = PreTrainedTokenizerFast(
            tokenizer_file=f"{place}/tokenizer.json", pad_token="<pad>", eos_token="</s>"
        )
        model: Any = AutoModelForSeq2SeqLM.from_pretrained(place)

    def encode(rows: list[Row]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for row in rows:
            one = tokenizer(
                row["english"], text_target=row["chinese"], truncation=True, max_length=_MOST
            )
            found.append({key: one[key] for key in ("input_ids", "attention_mask", "labels")})
        return found

    how = {
        "num_train_epochs": float(epochs[0]) if epochs else 40.0,
        "per_device_train_batch_size": 16,
        "learning_rate": 1e-3,
        "label_smoothing_factor": 0.1,
        "seed": int(seed),
    }
    collator = DataCollatorForSeq2Seq(tokenizer, model=model)
    with trained(model, tokenizer, encode(train), how, collator):
        seconds = time.perf_counter() - began
    model.eval()
    said: list[str] = []
    for start in range(0, len(test), _BATCH):
        texts = [row["english"] for row in test[start : start + _BATCH]]
        read_in = tokenizer(texts, padding=True, return_tensors="pt")
        inputs = {key: read_in[key] for key in ("input_ids", "attention_mask")}
        written = model.generate(**inputs, num_beams=4, max_new_tokens=_MOST)
        said += tokenizer.batch_decode(written, skip_special_tokens=True)
    print(json.dumps({"answers": said, "fit_seconds": seconds}))


if __name__ == "__main__":
    main()
