"""Servers side by side: Sartor's, and those of peers in a Python of their own."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks._harness import ROOT
from benchmarks._server import exchange, free_port, post

from sartor.bundle import open_bundle

OURS = "sartor"
INFINITY_MODEL = "reviews"
PEERS = {
    "fastapi": "FastAPI",
    "litserve": "LitServe",
    "ray": "Ray Serve",
    "infinity": "infinity-emb",
}
_SIDE = Path(__file__).with_name("_serving_side.py")
_NEEDS = {
    "fastapi": "fastapi, onnxruntime, tokenizers",
    "litserve": "litserve, onnxruntime, tokenizers",
    "ray": "ray.serve, onnxruntime, tokenizers",
    "infinity": "infinity_emb, optimum.onnxruntime",
}
_READY_S, _STOP_S = 150.0, 20.0


@dataclass(frozen=True, slots=True)
class Side:
    """A server that answers.

    Args:
        name: `OURS`, or a key of `PEERS`.
        port: It listens on, at 127.0.0.1.
        process: Whose descendants it consists of.
    """

    name: str
    port: int
    process: int

    def request(self, text: str) -> bytes:
        """A whole request that asks for one text."""
        if self.name == OURS:
            return post("/v1/predict", {"inputs": [{"text": text}]})
        if self.name == "infinity":
            return post("/classify", {"model": INFINITY_MODEL, "input": [text]})
        return post("/predict", {"text": text})

    def label(self, body: bytes) -> str:
        """What the reply to `request` holds most probable, whatever rule then decides."""
        reply = json.loads(body)
        if self.name == "infinity":
            return str(max(reply["data"][0], key=lambda one: one["score"])["label"])
        if self.name == OURS:
            probabilities: dict[str, float] = reply["outputs"][0]["probabilities"]
            return max(probabilities, key=probabilities.__getitem__)
        return str(reply["label"])


def usable(pythons: Sequence[str]) -> dict[str, str]:
    """Each peer that one of the Pythons can import, and the first that can."""

    def has(python: str, modules: str) -> bool:
        asked = [python, "-c", f"import {modules}"]
        return subprocess.run(asked, capture_output=True, check=False).returncode == 0

    found = {
        name: next((python for python in pythons if has(python, modules)), None)
        for name, modules in _NEEDS.items()
    }
    return {name: python for name, python in found.items() if python is not None}


def lay_out(bundle: str, folder: Path) -> Path:
    """Put a bundle's graph and tokenizer where a peer's server reads them."""
    found = open_bundle(bundle)
    for name in ("model.onnx", "tokenizer.json"):
        shutil.copyfile(found.path(name), folder / name)
    read = found.manifest.preprocess
    told = {"prefix": read.prefix, "max_length": read.max_length}
    told |= {"labels": list(found.manifest.outputs)}
    (folder / "side.json").write_text(json.dumps(told), encoding="utf-8")
    _lay_out_plain(folder, list(found.manifest.outputs), read.max_length)
    return folder


def _lay_out_plain(folder: Path, labels: list[str], longest: int) -> None:
    """What transformers reads beside the graph: infinity-emb loads the folder as such a model."""
    config = {
        "architectures": ["BertForSequenceClassification"],
        "model_type": "bert",
        "id2label": {str(index): label for index, label in enumerate(labels)},
        "label2id": {label: index for index, label in enumerate(labels)},
    }
    names = ("pad", "unk", "cls", "sep", "mask")
    tokenizer = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": longest,
        **{f"{name}_token": f"[{name.upper()}]" for name in names},
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer), encoding="utf-8")


Command = Callable[[int], list[str]]
"""From the port that a server is to listen on to what starts it."""


@contextmanager
def running(name: str, command: Command, **environment: str) -> Iterator[Side]:
    """Start a server, wait until it answers one text, and stop all of it at the end.

    Args:
        name: Of the side.
        command: What starts it.
        environment: Variables beside those of this process.

    Raises:
        SystemExit: If it ends, or does not answer in two and a half minutes.
    """
    port = free_port()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command(port),
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
        side = Side(name, port, process.pid)
        try:
            try:
                asyncio.run(asyncio.wait_for(_answers(side, process), _READY_S))
            except (TimeoutError, OSError):
                said.seek(0)
                sys.stderr.buffer.write(said.read())
                raise SystemExit(f"{name} does not answer") from None
            yield side
        finally:
            _stop(process)


def peer(name: str, python: str, folder: str, threads: int) -> Command:
    """A peer's server; folder "-" serves a constant, which infinity-emb cannot."""
    if name == "infinity":
        # Its reader of local folders finds the graph only in the one that it is started in.
        return lambda port: [
            *("env", "-C", folder, str(Path(python).with_name("infinity_emb")), "v2"),
            *("--engine", "optimum", "--device", "cpu"),
            *("--model-id", ".", "--served-model-name", INFINITY_MODEL),
            *("--host", "127.0.0.1", "--port", str(port), "--no-bettertransformer"),
            "--no-model-warmup",  # with longer texts than the model reads
            *("--log-level", "error"),
        ]
    return lambda port: [python, str(_SIDE), name, str(port), folder, str(threads)]


async def _answers(side: Side, process: subprocess.Popen[bytes]) -> None:
    """Ask until it answers.

    Raises:
        ConnectionError: If the process ended.
    """
    while process.poll() is None:
        with suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", side.port)
            status, _ = await exchange(reader, writer, side.request("It works."))
            writer.close()
            if status == 200:
                return
        await asyncio.sleep(0.2)
    raise ConnectionError


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Its whole session: Ray's and LitServe's workers are processes too."""
    for sent in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, sent)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_S)
