"""A real bundle that is small, and users of it whose habits are known.

A text is a word that says its topic and words that say nothing. The graph looks each word up,
passes it through one layer, takes the mean, and a linear head finds the topic's label.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import onnx
import sqlalchemy as sa
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from sartor.bundle import Bundle, Learnt, Preprocess, record_verdicts, write_bundle
from sartor.core.store import Store
from sartor.core.tables import feedback, predictions
from sartor.listen.by_user import Who
from tests.manifests import draft
from tests.shrink.runs import compressed

LABELS = ("refund", "invoice", "other")
TOPICS = tuple(f"topic{number}" for number in range(9))
"""Three topics a label."""
NOISE = tuple(f"word{number}" for number in range(40))
WIDTH = 24
START = datetime(2026, 11, 1, tzinfo=UTC)


def right(topic: int) -> str:
    """What the model says of a topic, and what users without a habit mean."""
    return LABELS[topic % 3]


def make_bundle(
    folder: Path, *, seed: int = 0, learnt: Learnt | None = None, int8: bool = False
) -> Bundle:
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(seed)
    vocabulary = {"[PAD]": 0, "[UNK]": 1}
    vocabulary |= {word: place for place, word in enumerate((*TOPICS, *NOISE), start=2)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    # Words that say nothing lie across all topics, so the model is right on every text.
    axes = np.linalg.qr(draw.standard_normal((WIDTH, WIDTH)))[0].astype(np.float32)
    topics, across = axes[: len(TOPICS)], axes[len(TOPICS) :]
    words = draw.standard_normal((len(NOISE), len(across))) @ across
    table = np.vstack([np.zeros((2, WIDTH)), 8 * topics, words]).astype(np.float32)
    weight = np.stack([topics[label::3].sum(0) for label in range(len(LABELS))])
    onnx.save(_graph(table, weight), folder / "model.onnx")
    if int8:
        compressed("int8_dynamic", folder / "model.onnx", folder / "int8").replace(
            folder / "model.onnx"
        )
    manifest = draft(outputs=list(LABELS), preprocess=Preprocess(max_length=32))
    content = {file: folder / file for file in ("model.onnx", "tokenizer.json")}
    bundle = write_bundle(folder / "bundle", manifest, content, "name: tickets\n", learnt)
    return record_verdicts(bundle, [], released=True)


def _graph(table: np.ndarray, weight: np.ndarray) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["found"]),
        helper.make_node("MatMul", ["found", "layer"], ["rows"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["wide"]),
        helper.make_node("Mul", ["rows", "wide"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "middle"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["wide", "middle"], ["count"], keepdims=0),
        helper.make_node("Max", ["count", "one"], ["least"]),
        helper.make_node("Div", ["sum", "least"], ["mean"]),
        helper.make_node("Gemm", ["mean", "weight", "bias"], ["logits"], transB=1),
    ]
    constants = {
        "table": table,
        "layer": np.eye(table.shape[1], dtype=np.float32),
        "last": np.array([2]),
        "middle": np.array([1]),
        "one": np.array([1.0], np.float32),
        "weight": weight,
        "bias": np.zeros(len(weight), np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "tickets",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"])
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(weight)])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def text_of(topic: int, number: int) -> str:
    """A text on a topic, another for each number."""
    draw = np.random.default_rng([topic, number])
    return " ".join((TOPICS[topic], *draw.choice(NOISE, 3, replace=False)))


@dataclass(frozen=True)
class Manners:
    """How a user speaks, and what is kept of it.

    Args:
        corrects: Chance that a wrong answer is corrected.
        confirms: Chance that a right one is confirmed.
        named: Whether requests name the user; feedback always does.
        texts: Whether texts are kept of answers that nothing is said of.
        served: Topic to the label that was served.
        says: Topic and number to a text.
    """

    corrects: float = 1.0
    confirms: float = 1.0
    named: bool = True
    texts: bool = True
    served: Callable[[int], str] = right
    says: Callable[[int, int], str] = text_of


USUAL = Manners()


def told(
    store: Store,
    who: Who,
    means: Callable[[int], str],
    rows: Sequence[int],
    manners: Manners = USUAL,
) -> None:
    """Record answers to a user, who says of some of them what they should have been.

    Args:
        store: Where to.
        who: The user.
        means: Topic to the label that the user means.
        rows: Numbers of the texts; the topic goes round.
        manners: Of the user.
    """
    draw = np.random.default_rng([len(rows), rows[0]])
    served, said = [], []
    for number in rows:
        topic = number % len(TOPICS)
        best, label, text = manners.served(topic), means(topic), manners.says(topic, number)
        speaks = draw.random() < (manners.confirms if best == label else manners.corrects)
        request = f"{who.name[:12]}-{number}"
        answer = {"label": best, "best": best, "probabilities": dict.fromkeys(LABELS, 1 / 3)}
        served.append(
            {
                "request_id": request,
                "row": 0,
                "bundle": "b",
                "time": START + timedelta(minutes=number),
                "label": best,
                "answer": answer,
                "text": text if manners.texts or speaks else None,
                "user": who.user if manners.named else None,
                "tenant": who.tenant,
            }
        )
        if speaks:
            word = {"request_id": request, "row": 0, "time": START, "label": label}
            said.append(word | {"user": who.user, "tenant": who.tenant})
    with store.write() as connection:
        connection.execute(sa.insert(predictions), served)
        if said:
            connection.execute(sa.insert(feedback), said)
