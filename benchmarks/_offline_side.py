# pyright: reportMissingImports=false
"""One side of `offline_throughput` in a process of its own: texts in, labels out.

    python _offline_side.py KIND MODEL TOKENIZER TEXTS THREADS LONGEST

It loads, says "ready", and then answers all texts each time a line comes in, saying the seconds
that took and the labels' numbers. It imports nothing of ours but where the side is ours: OpenVINO
has a Python of its own. The peers tokenise with the same library, sort by length and pad batches of
32 to their longest.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

BATCH = 32
CALIBRATION = 300
"""Training texts that nncf takes its scales from, as its documentation has it."""
Answers = Callable[[list[str]], list[int]]
Forward = Callable[[np.ndarray, np.ndarray], Any]


def batches(tokenizer: Tokenizer, texts: list[str]) -> list[tuple[list[int], Any, Any]]:
    """(rows, ids, mask) of each batch, shortest texts first."""
    encoded = tokenizer.encode_batch_fast(texts)
    order = sorted(range(len(texts)), key=lambda row: len(encoded[row].ids))
    found: list[tuple[list[int], Any, Any]] = []
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        longest = max(len(encoded[row].ids) for row in rows)
        ids = np.zeros((len(rows), longest), np.int64)
        mask = np.zeros_like(ids)
        for place, row in enumerate(rows):
            ids[place, : len(encoded[row].ids)] = encoded[row].ids
            mask[place, : len(encoded[row].ids)] = 1
        found.append((rows, ids, mask))
    return found


def in_a_loop(tokenizer: Tokenizer, forward: Forward) -> Answers:
    def answer(texts: list[str]) -> list[int]:
        labels = [0] * len(texts)
        for rows, ids, mask in batches(tokenizer, texts):
            for row, label in zip(rows, forward(ids, mask).argmax(1), strict=True):
                labels[row] = int(label)
        return labels

    return answer


def ours(model: str, tokenizer: Tokenizer, texts: Path, threads: int) -> Answers:
    import sartor

    runtime = sartor.load(model, threads=threads, unreleased="allow")
    place = {label: i for i, label in enumerate(runtime.outputs)}
    return lambda asked: [place[answer["best"]] for answer in runtime.predict(asked)]


def torch_fp32(model: str, tokenizer: Tokenizer, texts: Path, threads: int) -> Answers:
    import torch

    from sartor.tasks.text_classification.train import load

    torch.set_num_threads(threads)
    network = load(Path(model)).eval()

    def forward(ids: np.ndarray, mask: np.ndarray) -> Any:
        with torch.inference_mode():
            return network(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()

    return in_a_loop(tokenizer, forward)


def onnxruntime_int8(model: str, tokenizer: Tokenizer, texts: Path, threads: int) -> Answers:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session: Any = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = {each.name for each in session.get_inputs()}

    def forward(ids: np.ndarray, mask: np.ndarray) -> Any:
        given = {"input_ids": ids, "attention_mask": mask}
        return session.run(None, {name: given[name] for name in names})[0]

    return in_a_loop(tokenizer, forward)


def openvino_int8(model: str, tokenizer: Tokenizer, texts: Path, threads: int) -> Answers:
    """nncf's post-training int8 of the same graph, asked asynchronously, as for throughput."""
    import openvino  # of the Python that the benchmark was told of

    core, kept = openvino.Core(), Path(model).with_name("openvino.xml")
    if not kept.exists():
        openvino.save_model(_quantised(core.read_model(model), tokenizer, texts), kept)
    quantised = core.read_model(kept)
    how = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_NUM_THREADS": threads}
    compiled = core.compile_model(quantised, "CPU", how)
    queue = openvino.AsyncInferQueue(compiled)

    def answer(asked: list[str]) -> list[int]:
        labels = [0] * len(asked)

        def settle(request: Any, rows: list[int]) -> None:
            for row, label in zip(rows, request.get_output_tensor(0).data.argmax(1), strict=True):
                labels[row] = int(label)

        queue.set_callback(settle)
        for rows, ids, mask in batches(tokenizer, asked):
            queue.start_async({"input_ids": ids, "attention_mask": mask}, rows)
        queue.wait_all()
        return labels

    return answer


def _quantised(graph: Any, tokenizer: Tokenizer, texts: Path) -> Any:
    import nncf

    calibration = [
        {"input_ids": ids, "attention_mask": mask}
        for text in json.loads(texts.read_text())["train"][:CALIBRATION]
        for _, ids, mask in batches(tokenizer, [text])
    ]
    return nncf.quantize(
        graph,
        nncf.Dataset(calibration),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=CALIBRATION,
    )


SIDES: dict[str, Callable[[str, Tokenizer, Path, int], Answers]] = {
    "ours": ours,
    "torch": torch_fp32,
    "onnxruntime": onnxruntime_int8,
    "openvino": openvino_int8,
}


def main() -> None:
    kind, model, tokenizer_file, texts, threads, longest = sys.argv[1:]
    # What libraries print must not come between the answers.
    answers, sys.stdout = os.fdopen(os.dup(1), "w", buffering=1), sys.stderr
    os.dup2(2, 1)
    tokenizer = Tokenizer.from_file(tokenizer_file)
    tokenizer.no_padding()
    tokenizer.enable_truncation(int(longest))
    answer = SIDES[kind](model, tokenizer, Path(texts), int(threads))
    asked = json.loads(Path(texts).read_text())["test"]
    answer(asked[:BATCH])
    print("ready", file=answers)
    for _ in sys.stdin:
        start, used = time.perf_counter(), time.process_time()
        labels = answer(asked)
        taken, used = time.perf_counter() - start, time.process_time() - used
        print(json.dumps({"seconds": taken, "cpu": used, "labels": labels}), file=answers)


if __name__ == "__main__":
    main()
