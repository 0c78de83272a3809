"""A peer's server, as its documentation has people write it. Started by `serving_peers.py` and
`serving_overhead.py` with the Python that has the peer; it imports nothing of Sartor.

    PYTHON _serving_side.py KIND PORT FOLDER THREADS

KIND is fastapi, litserve or ray. POST /predict with {"text": "…"} answers {"label": "…"}. FOLDER
holds model.onnx, tokenizer.json and side.json (labels, prefix, max_length); where it is "-", the
answer is a constant, and only the server is measured.
"""

import json
import sys
from pathlib import Path
from typing import Any

MOST, WAIT_S = 32, 0.002
"""Texts of a batch, and how long a peer that gathers them waits for more."""


class Answers:
    """Tokenizing and one forward pass, as all peers do it."""

    def __init__(self, folder: str, threads: int) -> None:
        self.session: Any = None
        if folder == "-":
            return
        import onnxruntime
        from tokenizers import Tokenizer

        place = Path(folder)
        told = json.loads((place / "side.json").read_text(encoding="utf-8"))
        self.labels, self.prefix = told["labels"], told["prefix"]
        self.tokenizer = Tokenizer.from_file(str(place / "tokenizer.json"))
        self.tokenizer.enable_truncation(told["max_length"])
        self.tokenizer.enable_padding()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(
            str(place / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self.given = {each.name for each in self.session.get_inputs()}

    def __call__(self, texts: list[str]) -> list[str]:
        if self.session is None:
            return ["none"] * len(texts)
        import numpy as np

        read = self.tokenizer.encode_batch([self.prefix + text for text in texts])
        inputs = {
            "input_ids": np.array([each.ids for each in read], np.int64),
            "attention_mask": np.array([each.attention_mask for each in read], np.int64),
        }
        inputs = {name: value for name, value in inputs.items() if name in self.given}
        logits = self.session.run(None, inputs)[0]
        return [self.labels[best] for best in logits.argmax(1).tolist()]


def fastapi(port: int, folder: str, threads: int) -> None:
    """One request, one forward pass, in FastAPI's thread pool."""
    import uvicorn
    from fastapi import FastAPI
    from pydantic import BaseModel

    class Body(BaseModel):
        text: str

    class Reply(BaseModel):
        label: str

    app, answers = FastAPI(), Answers(folder, threads)

    def predict(body: Body) -> Reply:
        return Reply(label=answers([body.text])[0])

    async def constant(body: Body) -> Reply:
        return Reply(label=answers([body.text])[0])

    app.post("/predict")(constant if folder == "-" else predict)
    uvicorn.run(app, port=port, log_level="error", access_log=False)


def litserve(port: int, folder: str, threads: int) -> None:
    """LitServe with its own batching."""
    import _litserve_side

    _litserve_side.run(port, folder, threads)


def ray(port: int, folder: str, threads: int) -> None:
    """Ray Serve, one replica, with `@serve.batch`."""
    import time

    import ray as cluster
    from ray import serve
    from starlette.requests import Request
    from starlette.responses import JSONResponse

    cluster.init(include_dashboard=False, log_to_driver=False, configure_logging=False)
    serve.start(http_options={"host": "127.0.0.1", "port": port})

    @serve.deployment(num_replicas=1, max_ongoing_requests=1_000)
    class Served:
        def __init__(self) -> None:
            self.answers = Answers(folder, threads)

        @serve.batch(max_batch_size=MOST, batch_wait_timeout_s=WAIT_S)
        async def gathered(self, texts: list[str]) -> list[str]:
            return self.answers(texts)

        async def __call__(self, request: Request) -> JSONResponse:
            return JSONResponse({"label": await self.gathered((await request.json())["text"])})

    serve.run(Served.bind(), route_prefix="/predict")
    while True:
        time.sleep(60)


KINDS = {"fastapi": fastapi, "litserve": litserve, "ray": ray}

if __name__ == "__main__":
    _, kind, where, model, count = sys.argv
    KINDS[kind](int(where), model, int(count))
