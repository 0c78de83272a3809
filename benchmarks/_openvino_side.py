"""OpenVINO's int8 of a graph, in a Python of its own; `compressors` tells it what to run.

    python _openvino_side.py GRAPH BATCHES.npz

nncf quantises the graph by its recipe for transformers. Then each line from stdin, "PART THREADS",
is answered by one line: the seconds that each batch of the part took, or the size in bytes.
"""

import sys
import time
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nncf  # pyright: ignore[reportMissingImports]
import numpy as np
import openvino  # pyright: ignore[reportMissingImports]


def main() -> None:
    graph, arrays = sys.argv[1:]
    held = np.load(arrays)
    core: Any = openvino.Core()
    with redirect_stdout(sys.stderr):  # what libraries print must not come between the answers
        model = nncf.quantize(
            core.read_model(graph),
            nncf.Dataset(_part(held, "calibration")),
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=300,
        )
    compiled: dict[int, Any] = {}
    for line in sys.stdin:
        part, count = line.split()
        threads = int(count)
        if part == "size":
            print(_size(model), flush=True)
            continue
        if threads not in compiled:
            how = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
            compiled[threads] = core.compile_model(model, "CPU", how)
        if part == "logits":
            found = [compiled[threads](batch)[0].ravel() for batch in _part(held, "test")]
            print(*np.concatenate(found), flush=True)
        else:
            print(*_seconds(compiled[threads], _part(held, part)), flush=True)


def _part(held: Any, name: str) -> list[dict[str, Any]]:
    count = sum(key.startswith(f"{name} ") for key in held.files) // 2
    return [
        {"input_ids": held[f"{name} {i} ids"], "attention_mask": held[f"{name} {i} mask"]}
        for i in range(count)
    ]


def _seconds(forward: Any, batches: list[dict[str, Any]]) -> list[float]:
    found: list[float] = []
    for batch in batches:
        started = time.perf_counter()
        forward(batch)
        found.append(time.perf_counter() - started)
    return found


def _size(model: Any) -> int:
    with TemporaryDirectory() as folder:
        openvino.save_model(model, Path(folder) / "model.xml")
        return sum(file.stat().st_size for file in Path(folder).iterdir())


if __name__ == "__main__":
    main()
