"""Soups: the average of fits is one fit, kept only where it does better."""

import shutil
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer

from sartor.core.events import silent
from sartor.core.likelihood import fit_temperature
from sartor.core.types import Candidate, Examples
from sartor.models.catalogue import find_backbone
from sartor.tasks.text_classification.train import load
from sartor.tune.fit import TuneOptions, Tuner
from sartor.tune.soup import alike, make_soup, read_soup, stir
from tests.stories.shop import reviews
from tests.tiny import make_tiny_bert


def examples(count: int, seed: int) -> Examples:
    texts, labels = zip(*reviews(count, seed), strict=True)
    ids = tuple(f"{seed} {i}" for i in range(count))
    return Examples(ids, {"text": texts}, labels)


ROWS = examples(96, 1), examples(64, 2)


@pytest.fixture(scope="module")
def fits(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three fits from one start, and one that reads another layer."""
    place = tmp_path_factory.mktemp("soup")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SARTOR_HOME", str(place / "home"))
        backbone = find_backbone(str(make_tiny_bert(place / "tiny")))
    tuner = Tuner(
        {backbone.name: backbone},
        lambda _: cast("Any", None),
        place / "fits",
        ("bad", "good"),
        TuneOptions(max_length=64, scored_train_rows=20),
    )
    settings = [
        {"lr": 2e-3, "epochs": 3, "batch_rows": 8},
        {"lr": 1e-3, "epochs": 3, "batch_rows": 8},
        {"lr": 3e-3, "epochs": 2, "batch_rows": 8},
        {"lr": 1e-3, "epochs": 1, "batch_rows": 8, "layers": [-2]},
    ]
    return [
        tuner(Candidate(backbone.name, backbone.sha256, "full", s, 0), *ROWS, silent).folder
        for s in settings
    ]


def made(fits: list[Path], to: Path) -> Path:
    to.mkdir()
    make_soup(fits, ROWS, "text_classification", to)
    return to


def answers(folder: Path, rows: Examples) -> np.ndarray:
    """(rows, 2) logits of the model in a folder, one row at a time."""
    model, tokenizer = load(folder), Tokenizer.from_file(str(folder / "tokenizer.json"))
    with torch.no_grad():
        found = [
            model(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.long))[0].numpy()
            for ids in (tokenizer.encode(t).ids for t in rows.inputs["text"])
        ]
    return np.stack(found)


def loss(folder: Path) -> float:
    """Validation log-loss of the model in a folder, after calibration."""
    found = answers(folder, ROWS[1])
    truth = np.array([("bad", "good").index(t) for t in ROWS[1].target])
    logits = found.astype(np.float64) / fit_temperature(found, truth)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return float(-np.log(p[np.arange(len(truth)), truth]).mean())


def pushed(fit: Path, by: float, to: Path) -> Path:
    """A fit beside another in the loss's basin: every weight moved by the same draw, times `by`."""
    shutil.copytree(fit, to)
    model, draw = load(fit), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=draw) * by)
    model.save(to)
    train = np.full((len(ROWS[0]), 2), np.nan, np.float32)
    train[:5] = 0
    save_file({"validation": answers(to, ROWS[1]), "train": train}, to / "logits.safetensors")
    return to


def test_a_soup_of_one_is_the_model(fits: list[Path], tmp_path: Path):
    soup = made(fits[:1], tmp_path / "soup")
    assert read_soup(soup).kept == (0,)
    wanted = load(fits[0]).state_dict()
    assert all(torch.equal(v, wanted[n]) for n, v in load(soup).state_dict().items())
    logits = load_file(fits[0] / "logits.safetensors")
    np.testing.assert_array_equal(read_soup(soup).validation_logits, logits["validation"])


def test_a_soup_of_equal_fits_is_the_fit(fits: list[Path]):
    state = load(fits[0]).state_dict()
    twice = stir(stir(state, state, 1), state, 2)
    assert all(torch.equal(value, state[name]) for name, value in twice.items())


def test_stirring_in_turn_is_the_mean_of_all(fits: list[Path]):
    states = [load(fit).state_dict() for fit in fits[:3]]
    found = stir(stir(states[0], states[1], 1), states[2], 2)
    for name, value in found.items():
        wanted = torch.stack([s[name].double() for s in states]).mean(0)
        torch.testing.assert_close(value.double(), wanted, atol=1e-6, rtol=1e-5)


def test_what_lies_around_a_minimum_is_averaged_to_it(fits: list[Path], tmp_path: Path):
    around = [pushed(fits[0], by, tmp_path / str(by)) for by in (0.12, -0.12)]
    soup = made(around, tmp_path / "soup")
    assert loss(soup) < min(map(loss, around)) - 1e-3
    for name, value in load(soup).state_dict().items():
        torch.testing.assert_close(value, load(fits[0]).state_dict()[name], atol=1e-5, rtol=1e-4)
    found = read_soup(soup)
    assert found.kept == (0, 1)
    np.testing.assert_allclose(found.validation_logits, answers(soup, ROWS[1]), atol=1e-4)
    np.testing.assert_allclose(
        found.train_logits[:5], answers(soup, ROWS[0].take(range(5))), atol=1e-4
    )
    assert np.isnan(found.train_logits[5:]).all(), "only the rows that the fits were scored on"


def test_a_fit_that_spoils_the_soup_is_left_out(fits: list[Path], tmp_path: Path):
    spoiled = tmp_path / "spoiled"
    model = load(fits[1])
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight))
    model.save(spoiled)
    assert read_soup(made([fits[0], spoiled], tmp_path / "soup")).kept == (0,)


def test_a_fit_of_another_architecture_is_left_out(fits: list[Path], tmp_path: Path):
    assert not alike(load(fits[0]).state_dict(), load(fits[3]).state_dict())
    assert 1 not in read_soup(made([fits[0], fits[3]], tmp_path / "soup")).kept
