"""Versions of one model that are told apart by their answers, and a server that follows them."""

import time
from collections.abc import Sequence
from pathlib import Path

import httpx

from sartor.bundle import Bundle, record_verdicts, write_bundle
from sartor.core.workspace import Workspace
from sartor.serve.deployment import Deployment
from tests.serve.conftest import LABELS, Running, manifest_of, write_parts


def version(
    folder: Path,
    number: int,
    *,
    labels: Sequence[str] = LABELS,
    released: bool = True,
    turned: bool = False,
    task: str = "text_classification",
) -> Bundle:
    """A bundle like its sisters, but a little surer the higher its number.

    Args:
        folder: Where it is made.
        number: No two of a folder may have the same.
        labels: Its outputs.
        released: Whether its need is met.
        turned: Answer "invoice" where the others answer "refund", and the other way round.
        task: What it is said to be.
    """
    parts = folder / f"parts-{number}"
    parts.mkdir(parents=True)
    found = write_parts(parts, 2.0 + number / 10)
    named = [labels[1], labels[0], *labels[2:]] if turned else labels
    manifest = manifest_of(labels=named).model_copy(update={"task": task})
    bundle = write_bundle(folder / f"version-{number}", manifest, found, "name: tickets\n")
    return record_verdicts(bundle, [], released=released)


def deployment(folder: Path, name: str = "tickets") -> Deployment:
    return Deployment.of(Workspace.open(folder).folder, name)


def until_served(running: Running, number: int) -> dict:
    """Wait until the server says that it serves this change, or failed to; what it says."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = running.client.get("/v1/model").json()
        told = found["deployment"]
        if told["wanted"] == number and told["state"] != "changing":
            return found
        time.sleep(0.01)
    raise AssertionError(f"change {number} was never served")


def metric(client: httpx.Client, name: str, **labels: str) -> float:
    """A value that the server counts; 0 where it counts no such thing."""
    for line in client.get("/metrics").text.splitlines():
        head, _, value = line.rpartition(" ")
        wanted = (f'{key}="{said}"' for key, said in labels.items())
        if head.partition("{")[0] == name and all(one in head for one in wanted):
            return float(value)
    return 0.0
