"""A real bundle that is small: one token, one logit vector, mean over the tokens."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from sartor.bundle import Bundle, Manifest, Preprocess, record_verdicts, write_bundle
from sartor.serve.runtime import load
from tests import served
from tests.manifests import draft

LABELS = ("refund", "invoice", "other")
WORDS = {"money": 0, "back": 0, "bill": 1, "tax": 1, "hello": 2, "weather": 2}


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A graph whose answer can be worked out by hand, and its tokenizer."""
    return write_parts(tmp_path_factory.mktemp("parts"), 4.0)


def write_parts(folder: Path, logit: float) -> dict[str, Path]:
    """
    Args:
        folder: Must exist.
        logit: Of the label that a word stands for.
    """
    vocabulary = {"[PAD]": 0, "[UNK]": 1} | {word: i + 2 for i, word in enumerate(WORDS)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    table = np.zeros((len(vocabulary), len(LABELS)), np.float32)
    for word, label in WORDS.items():
        table[vocabulary[word], label] = logit
    onnx.save(_mean_of_rows(table), folder / "model.onnx")
    return {name: folder / name for name in ("model.onnx", "tokenizer.json")}


def _mean_of_rows(table: np.ndarray) -> onnx.ModelProto:
    shape = ["batch", "sequence"]
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["wide"]),
        helper.make_node("Mul", ["rows", "wide"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "middle"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["wide", "middle"], ["count"], keepdims=0),
        helper.make_node("Max", ["count", "one"], ["least"]),
        helper.make_node("Div", ["sum", "least"], ["logits"]),
    ]
    constants = {
        "table": table,
        "last": np.array([2]),
        "middle": np.array([1]),
        "one": np.array([1.0], np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, shape)
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(LABELS)])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.fixture(scope="session")
def tracer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A graph of learners: each right answer makes the skill easier, each wrong one harder; items
    get harder."""
    import torch

    from sartor.shrink.export import to_onnx
    from sartor.tasks.mastery.model import Sizes, Tracer

    place = tmp_path_factory.mktemp("tracer")
    model = Tracer(Sizes(6, 2, 1))
    with torch.no_grad():
        model.skill.copy_(torch.tensor([0, 0, 0, 1, 1, 1]))
        model.easy.copy_(torch.tensor([1.5, 0.5, -0.5] * 2))
        model.own[0, 0], model.own[0, 1] = 1.0, -1.0
    model.save(place / "fit")
    to_onnx(place / "fit", "mastery", place / "model.onnx")
    return place / "model.onnx"


@pytest.fixture
def make_bundle(parts: dict[str, Path], tmp_path: Path) -> Callable[..., Bundle]:
    def make(
        *, name: str = "tickets", released: bool = True, labels=LABELS, abstain_below: float = 0.0
    ) -> Bundle:
        manifest = manifest_of(name, labels, abstain_below)
        bundle = write_bundle(tmp_path / "bundle", manifest, parts, "name: tickets\n")
        return record_verdicts(bundle, [], released=released)

    return make


def manifest_of(
    name: str = "tickets", labels: Sequence[str] = LABELS, abstain_below: float = 0.0
) -> Manifest:
    return draft(
        name=name,
        outputs=list(labels),
        decision={"abstain_below": abstain_below},
        preprocess=Preprocess(max_length=32),
    )


@pytest.fixture
def bundle(make_bundle: Callable[..., Bundle]) -> Bundle:
    return make_bundle()


@dataclass(frozen=True)
class Running:
    """A server on loopback in a thread, and a client that talks to it."""

    url: str
    client: httpx.Client
    store: Path

    @staticmethod
    def of(client: httpx.Client, store: Path) -> "Running":
        return Running(str(client.base_url).rstrip("/"), client, store)

    def predict(self, *texts: str, **more: object) -> dict:
        body = {"inputs": [{"text": text} for text in texts], **more}
        reply = self.client.post("/v1/predict", json=body)
        assert reply.status_code == 200, reply.text
        return reply.json()


def answers_alike(bundle: Bundle, rows: Sequence[object]) -> None:
    """Alone, beside others, and from the cache."""
    plain, cached = load(bundle.folder, threads=1), load(bundle.folder, threads=1, cache_mb=4)
    alone = [plain.predict([row])[0] for row in rows]
    assert plain.predict(rows) == alone
    assert cached.predict(rows) == alone
    assert cached.predict(rows) == alone
    assert cached.cache is not None
    assert cached.cache.hits >= len(rows)


Serving = Callable[..., AbstractContextManager[Running]]


@pytest.fixture
def serving(bundle: Bundle, tmp_path: Path) -> Serving:
    """Starts a real server with the settings given; it is stopped when the block ends."""

    @contextmanager
    def start(**settings: object) -> Iterator[Running]:
        store = tmp_path / "store.db"
        given = {"store": str(store), **settings}
        if "deployment" not in settings:
            given.setdefault("bundle", str(bundle.folder))
        with served.serving(**given) as client:
            yield Running.of(client, store)

    return start


@pytest.fixture
def running(serving: Serving) -> Iterator[Running]:
    with serving() as started:
        yield started
