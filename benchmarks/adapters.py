"""One base, a thousand users' LoRAs on all linear layers: texts a second, ours beside peft.

    python -m benchmarks.adapters [--adapters 1000] [--peer-adapters 200] [--rank 8] [--rounds 5]
        [--batches 12] [--megabytes 256] [--work FOLDER]

MiniLM with a head, in float32 on both sides. Each batch holds 8 or 32 texts of as many users, drawn
uniformly without repetition. Ours: all adapters in memory; and as many as fit into --megabytes, the
others read from the disk and verified. Ours with one adapter for the whole batch is what mixing is
held against. The peers are peft's mixed batches (`adapter_names`), all of its adapters loaded, and
a plain cache in peft that holds 64 adapters, loads what it lacks and drops the one asked longest
ago; they get fewer users, since what loading one takes grows with those that are loaded. Sides take
turns on the same texts; answers of the peers and ours to the same batch are compared first. Writing
a thousand adapters takes a minute and 1.5 GB of disk; with --work they are kept.
"""

import argparse
import tempfile
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks._harness import Line, alternate, arguments, finish, gate, machine, median_ratio
from benchmarks.offline_throughput import read
from peft import LoraConfig, get_peft_model
from peft.utils import set_peft_model_state_dict

from sartor.bundle import Bundle, Manifest, Preprocess, open_bundle, write_bundle
from sartor.bundle.adapter import Adapter, read_adapter, write_adapter
from sartor.bundle.base import Base
from sartor.core.protocols import Floats
from sartor.models.catalogue import find_backbone
from sartor.models.loading import load_text_backbone
from sartor.serve.adapters.graph import AdaptedGraph
from sartor.serve.adapters.store import Adapters
from sartor.serve.cores import cores
from sartor.serve.graph import padded
from sartor.serve.runtime import load
from sartor.shrink.adaptable import make_base
from sartor.shrink.api import GRAPH, TOKENIZER
from sartor.shrink.export import to_onnx
from sartor.tasks._encoder.model import TextClassifier
from sartor.tasks.text_classification.train import load as load_classifier

LABELS = ("a", "b", "c", "d", "e")
SIZES = {8: "at least 0.8", 32: "at least 0.9"}
"""Texts and users of a batch, and the goal beside one adapter for all of it."""
LONGEST, KEPT = 64, 64
HOT, COLD, ONE = "ours, all in memory", "ours, from the disk", "ours, one adapter"
MIXED, CACHED = "peft, adapter_names", "peft, 64 adapters kept"
APART = 1e-3
"""Largest difference of a logit between the sides."""
Answers = Callable[[Sequence[str], Sequence[str]], Floats]
"""Texts and users to logits."""


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--adapters", type=int, default=1_000)
    parser.add_argument("--peer-adapters", type=int, default=200, help="users of the peers")
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=12, help="of each size in a round")
    parser.add_argument("--megabytes", type=float, default=256.0)
    parser.add_argument("--work", type=Path, help="folder to keep bundle and adapters in")
    given = parser.parse_args()
    facts = machine()
    torch.set_num_threads(cores())
    with tempfile.TemporaryDirectory() as folder:
        place = given.work or Path(folder)
        bundle = made(place, given)
        sides = opened(place, bundle, given)
        texts = [row["text"] for row in read("test.csv")]
        apart = differences(sides, texts)
        taken: dict[int, dict[str, list[float]]] = {n: {s: [] for s in sides} for n in SIZES}
        for number, name in alternate(list(sides), given.rounds):
            for size in SIZES:
                users = given.peer_adapters if name in (MIXED, CACHED) else given.adapters
                batches = drawn(texts, users, size, given.batches, seed=number)
                taken[size][name].append(seconds(sides[name], batches))
                rate = size * given.batches / taken[size][name][-1]
                print(f"round {number}, {name}, {size}: {rate:.0f} texts/s", flush=True)
    finish("adapters", facts, described(taken, apart), {"seconds": taken, **vars_of(given)})


def vars_of(given: argparse.Namespace) -> dict[str, Any]:
    return {name: value for name, value in vars(given).items() if name != "work"}


def made(place: Path, given: argparse.Namespace) -> Bundle:
    """A bundle of MiniLM with a head that knows nothing, its base, and the adapters."""
    place.mkdir(parents=True, exist_ok=True)
    if not (place / "bundle").exists():
        backbone = find_backbone("minilm")
        encoder, tokenizer = load_text_backbone(backbone)
        torch.manual_seed(0)
        TextClassifier(encoder, len(LABELS), (backbone.layers,)).eval().save(place / "fit")
        to_onnx(place / "fit", "text_classification", place / GRAPH)
        tokenizer.save(str(place / TOKENIZER))
        content = {name: place / name for name in (GRAPH, TOKENIZER)}
        write_bundle(place / "bundle", manifest(), content, "")
    bundle = open_bundle(place / "bundle")
    base = make_base(bundle, place / "adapters", rank=given.rank)
    for number in range(given.adapters):
        try:
            read_adapter(place / "adapters", None, user(number), base)
        except LookupError:
            write_adapter(place / "adapters", None, user(number), drawn_adapter(base, number))
    return bundle


def manifest() -> Manifest:
    return Manifest(
        format=1,
        id="",
        name="adapters",
        task="text_classification",
        inputs={"text": "text"},
        outputs=list(LABELS),
        decision={},
        preprocess=Preprocess(max_length=LONGEST),
        files={},
        need={},
        lineage={},
    )


def user(number: int) -> str:
    return f"user-{number}"


def drawn_adapter(base: Base, number: int) -> Adapter:
    draw = np.random.default_rng(number)
    tensors: dict[str, Floats] = {}
    for name, (width, height) in base.linears.items():
        tensors[f"{name}.A"] = draw.normal(0, 0.05, (base.rank, width)).astype(np.float32)
        tensors[f"{name}.B"] = draw.normal(0, 0.05, (height, base.rank)).astype(np.float32)
    return Adapter(base.bundle, "lora", tensors)


def opened(place: Path, bundle: Bundle, given: argparse.Namespace) -> dict[str, Answers]:
    """Every side by name."""
    root = place / "adapters"
    everything = load(bundle.folder, unreleased="allow", adapters=Adapters(root, 1e6)).adapted
    some = load(bundle.folder, unreleased="allow", adapters=Adapters(root, given.megabytes)).adapted
    assert everything is not None
    assert some is not None
    for number in range(given.adapters):
        everything.store.get(None, user(number))
    peer = Peer(place, root, everything, given.rank)
    cached = Peer(place, root, everything, given.rank, most=KEPT)
    start = time.perf_counter()
    for number in range(given.peer_adapters):
        peer.have(user(number))
    print(f"peft loaded its adapters in {time.perf_counter() - start:.0f} s", flush=True)
    return {
        HOT: lambda texts, users: ours(everything, texts, users),
        COLD: lambda texts, users: ours(some, texts, users),
        ONE: lambda texts, users: ours(everything, texts, [users[0]] * len(texts)),
        MIXED: peer.answer,
        CACHED: cached.answer,
    }


def ours(graph: AdaptedGraph, texts: Sequence[str], users: Sequence[str]) -> Floats:
    return graph.logits(texts, [graph.store.get(None, one) for one in users])


@dataclass
class Peer:
    """MiniLM with peft's adapters, the most of them dropped where `most` says so."""

    place: Path
    root: Path
    graph: AdaptedGraph
    rank: int
    most: int | None = None
    loaded: OrderedDict[str, None] = field(default_factory=OrderedDict)

    def __post_init__(self) -> None:
        classifier = load_classifier(self.place / "fit")
        self.head = classifier.head
        self.config = LoraConfig(
            r=self.rank,
            lora_alpha=self.rank,
            target_modules=r"encoder\..*\.(query|key|value|dense)",
            inference_mode=True,
        )
        self.model = get_peft_model(classifier.encoder, self.config).eval()  # pyright: ignore[reportArgumentType, reportCallIssue]

    def have(self, name: str) -> None:
        if name not in self.loaded:
            own = read_adapter(self.root, None, name, self.graph.base).tensors
            state = {
                f"base_model.model.{key.removeprefix('encoder.')[:-2]}.lora_{key[-1]}.weight": (
                    torch.from_numpy(array.copy())
                )
                for key, array in own.items()
            }
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.model.add_adapter(name, self.config)
                set_peft_model_state_dict(self.model, state, name)
        self.loaded[name] = None
        self.loaded.move_to_end(name)

    def answer(self, texts: Sequence[str], users: Sequence[str]) -> Floats:
        for name in users:
            self.have(name)
        while self.most is not None and len(self.loaded) > self.most:
            self.model.delete_adapter(self.loaded.popitem(last=False)[0])
        reader = self.graph.reader
        ids, mask = (torch.from_numpy(a) for a in padded(reader.read(texts).pieces, reader.pad))
        with torch.inference_mode():
            found = self.model(input_ids=ids, attention_mask=mask, adapter_names=list(users))
            weight = mask[..., None].float()
            pooled = (found.last_hidden_state * weight).sum(1) / weight.sum(1)
            return self.head(pooled).numpy()  # pyright: ignore[reportCallIssue]


def drawn(
    texts: Sequence[str], users: int, size: int, batches: int, seed: int
) -> list[tuple[list[str], list[str]]]:
    """Batches of different texts and different users."""
    draw = np.random.default_rng(seed)
    return [  # pyright: ignore[reportReturnType]
        (
            [texts[at] for at in draw.choice(len(texts), size, replace=False)],
            [user(at) for at in draw.choice(users, size, replace=False)],
        )
        for _ in range(batches)
    ]


def seconds(side: Answers, batches: Sequence[tuple[list[str], list[str]]]) -> float:
    side(*batches[0])  # what a first pass prepares is not counted
    start = time.perf_counter()
    for texts, users in batches:
        side(texts, users)
    return time.perf_counter() - start


def differences(sides: dict[str, Answers], texts: Sequence[str]) -> dict[str, float]:
    """Largest difference of a logit from ours, on a batch of eight."""
    asked, users = drawn(texts, 16, 8, 1, seed=1)[0]
    wanted = sides[HOT](asked, users)
    plain = sides[ONE](asked, users)
    assert np.abs(wanted[1:] - plain[1:]).max() > APART, "the adapters answer alike"
    return {
        name: float(np.abs(sides[name](asked, users) - wanted).max())
        for name in (COLD, MIXED, CACHED)
    }


def described(taken: dict[int, dict[str, list[float]]], apart: dict[str, float]) -> list[Line]:
    lines: list[Line] = []
    for size, goal in SIZES.items():
        found = taken[size]
        mixing = median_ratio(found[ONE], found[HOT])
        what = f"Batches of {size} users beside one user's, texts a second"
        lines.append(Line.of(what, mixing, "times", against="ours, one adapter", goal=goal))
        for peer in (MIXED, CACHED):
            note = gate(apart[peer] <= APART, f"logits {apart[peer]:.1e} apart")
            what = f"Batches of {size} users, all in memory{note}"
            ratio = median_ratio(found[peer], found[HOT])
            wanted = "at least 10" if peer == MIXED else ""
            lines.append(Line.of(what, ratio, "times", against=peer, goal=wanted))
        what = f"Batches of {size} users, most read from the disk"
        lines.append(Line.of(what, median_ratio(found[MIXED], found[COLD]), "times", against=MIXED))
    return lines


if __name__ == "__main__":
    main()
