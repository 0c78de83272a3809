"""Checkpoints: what is read is what was written, or the one before it."""

from pathlib import Path

import pytest
import torch

from sartor.core.events import Note
from sartor.tune.checkpoint import Checkpoints, Snapshot, flatten_optimizer, restore_optimizer


def _snapshot(step: int) -> Snapshot:
    model = {"encoder.w": torch.full((4, 3), float(step)), "head.b": torch.arange(3.0)}
    return Snapshot(step, {"model": model, "optimizer": {"w/step": torch.tensor(step)}}, {"bad": 1})


def test_the_newest_snapshot_comes_back_whole(tmp_path: Path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(_snapshot(2))
    checkpoints.save(_snapshot(10))

    found = Checkpoints(tmp_path).newest()

    assert found is not None
    assert (found.step, found.state["bad"]) == (10, 1)
    assert torch.equal(found.tensors["model"]["encoder.w"], torch.full((4, 3), 10.0))
    assert found.tensors["optimizer"]["w/step"].item() == 10


def test_an_empty_folder_has_none(tmp_path: Path):
    assert Checkpoints(tmp_path / "new").newest() is None


def test_two_are_kept(tmp_path: Path):
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2, 3, 4):
        checkpoints.save(_snapshot(step))

    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000003", "step-00000004"]


FILES = ("model.safetensors", "optimizer.safetensors", "state.json", "manifest.json")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
def test_a_damaged_newest_is_named_and_the_one_before_is_used(tmp_path: Path, name: str, harm: str):
    told: list[Note] = []
    checkpoints = Checkpoints(tmp_path, lambda event: told.append(event))
    checkpoints.save(_snapshot(2))
    checkpoints.save(_snapshot(4))
    path = tmp_path / "step-00000004" / name
    data = bytearray(path.read_bytes())
    if harm == "flip":
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    elif harm == "cut":
        path.write_bytes(data[: len(data) // 2])
    else:
        path.unlink()

    found = checkpoints.newest()

    assert found is not None
    assert found.step == 2
    assert "step-00000004 is damaged" in told[0].text
    assert not (tmp_path / "step-00000004").exists()


def test_what_a_killed_writer_left_is_removed_and_never_read(tmp_path: Path):
    Checkpoints(tmp_path).save(_snapshot(2))
    torn = tmp_path / ".step-00000004.abc"
    torn.mkdir()
    (torn / "model.safetensors").write_bytes(b"half a fi")

    found = Checkpoints(tmp_path).newest()

    assert found is not None
    assert found.step == 2
    assert not torn.exists()


def test_the_newest_checkpoint_up_to_a_step_is_found(tmp_path: Path):
    book = Checkpoints(tmp_path)
    for step in (4, 6):
        book.save(Snapshot(step, {}, {}))

    found = [book.newest(most) for most in (None, 9, 6, 5, 3)]

    assert [f.step if f else None for f in found] == [6, 6, 6, 4, None]


def test_a_restored_optimizer_takes_the_same_next_step():
    def made():
        torch.manual_seed(0)
        a, b = torch.nn.Parameter(torch.randn(3)), torch.nn.Parameter(torch.randn(2, 2))
        groups = [{"params": [a], "lr": 0.1}, {"params": [b], "lr": 0.01}]
        return torch.optim.AdamW(groups, fused=True), (a, b)

    def step(optimizer, tensors):
        for tensor in tensors:
            tensor.grad = tensor.detach() * 0.3
        optimizer.step()

    names = {0: "a", 1: "b"}
    first, ours = made()
    step(first, ours)
    saved = {n: t.clone() for n, t in flatten_optimizer(first, names).items()}
    values = [t.detach().clone() for t in ours]
    step(first, ours)

    second, theirs = made()
    with torch.no_grad():
        for tensor, value in zip(theirs, values, strict=True):
            tensor.copy_(value)
    restore_optimizer(second, saved, names)
    step(second, theirs)

    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
