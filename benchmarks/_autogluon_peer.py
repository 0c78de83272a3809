# pyright: reportMissingImports=false
"""AutoGluon-Multimodal with its defaults, as its documentation shows it, on a backbone of ours.

    python benchmarks/_autogluon_peer.py MODEL TRAIN.csv TEST.csv SEED

Its usual backbone is larger and comes from a hub; the one given stands in for it, so that both
sides start alike. It keeps validation rows of its own. Prints one JSON object: the answers to the
test rows, and the seconds that training took.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from autogluon.multimodal import MultiModalPredictor

_KEPT = ["text", "label"]


def read(path: str) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)[_KEPT]  # pyright: ignore[reportReturnType]


def main() -> None:
    folder, train_file, test_file, seed = sys.argv[1:]
    began = time.perf_counter()
    train, asked = read(train_file), read(test_file)
    with tempfile.TemporaryDirectory() as output:
        predictor = MultiModalPredictor(
            label="label", path=str(Path(output) / "made"), verbosity=0, enable_progress_bar=False
        )
        predictor.fit(
            train,
            seed=int(seed),
            column_types={"text": "text"},
            hyperparameters={
                "model.names": ["hf_text"],
                "model.hf_text.checkpoint_name": folder,
                "env.num_gpus": 0,
                "env.accelerator": "cpu",
            },
        )
        fitted = time.perf_counter() - began
        answers = [str(answer) for answer in predictor.predict(asked[["text"]])]
    print(json.dumps({"answers": answers, "fit_seconds": fitted}))


if __name__ == "__main__":
    main()
