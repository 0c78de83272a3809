# pyright: reportMissingImports=false
"""A bi-encoder as sentence-transformers' documentation trains one.

    python benchmarks/_answers_peer.py MODEL FILES.json SEED EPOCHS

Pairs of a text and its document, MultipleNegativesRankingLoss over batches without duplicates, else
the trainer's defaults. Prints one JSON object: for each test text the documents by falling
similarity, and the seconds that training took.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.losses import MultipleNegativesRankingLoss
from sentence_transformers.training_args import BatchSamplers
from transformers.trainer_callback import PrinterCallback

_LISTED = 100


def main() -> None:
    folder, file, seed, epochs = sys.argv[1:]
    rows = json.loads(Path(file).read_text("utf-8"))
    began = time.perf_counter()
    model = SentenceTransformer(folder)
    model.max_seq_length = 256
    with tempfile.TemporaryDirectory() as output:
        arguments = SentenceTransformerTrainingArguments(
            output_dir=output,
            seed=int(seed),
            num_train_epochs=float(epochs),
            batch_sampler=BatchSamplers.NO_DUPLICATES,
            report_to="none",
            disable_tqdm=True,
            save_strategy="no",
        )
        pairs = Dataset.from_dict({"anchor": rows["texts"], "positive": rows["right"]})
        loss = MultipleNegativesRankingLoss(model)
        trainer = SentenceTransformerTrainer(
            model=model, args=arguments, train_dataset=pairs, loss=loss
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    fitted = time.perf_counter() - began
    documents = model.encode(rows["documents"], normalize_embeddings=True)
    asked = model.encode(rows["asked"], normalize_embeddings=True)
    order = (-(asked @ documents.T)).argsort(1)[:, :_LISTED]
    print(json.dumps({"order": order.tolist(), "fit_seconds": fitted}))


if __name__ == "__main__":
    main()
