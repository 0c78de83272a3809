"""Encoder-decoders learn what is to be written, and nothing of padding; a kill changes nothing."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from sartor.core.errors import SettingError
from sartor.core.events import silent
from sartor.core.replies import as_said
from sartor.core.types import Candidate
from sartor.models.catalogue import find_backbone
from sartor.models.loading import load_language_model, load_seq2seq
from sartor.models.scratch import Sizes, describe_scratch, write_scratch
from sartor.tune.checkpoint import Checkpoints
from sartor.tune.fit import TuneOptions, Tuner
from sartor.tune.seq2seq import Seq2Seq
from sartor.tune.sides import Pairs, sides_of
from sartor.tune.writing import WRITERS, WritingTuner, writers
from tests.tiny import make_tiny_llama, make_tiny_seq2seq
from tests.translated import pairs

TRAIN, HELD = pairs(40), pairs(6, 1)
SMALL = Sizes(vocabulary=320, layers=1, width=64, positions=64, dropout=0.0)


@pytest.fixture(scope="module")
def bart(tmp_path_factory):
    folder = make_tiny_seq2seq(tmp_path_factory.mktemp("bart"), "bart")
    return find_backbone(str(folder), kind="seq2seq")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    write_scratch([*map(str, TRAIN.texts), *map(str, TRAIN.target)], 0, folder, SMALL)
    return describe_scratch(folder, 0)


def model_of(backbone, smoothing=0.0):
    base, sides = load_seq2seq(backbone), sides_of(backbone)
    return Seq2Seq(base, sides.file(base, 16, 1, 1.0), smoothing).eval(), sides


def tuner_in(folder, backbone, **options):
    told = TuneOptions(task="translation", **options)
    return WritingTuner(Tuner({backbone.name: backbone}, lambda b: None, folder, ["reply"], told))


def candidate(backbone, method, **settings):
    return Candidate(backbone.name, backbone.sha256, method, settings, 0)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_that_of_torch_for_each_row_alone(bart, smoothing):
    model, sides = model_of(bart, smoothing)
    model.train()
    for module in model.modules():
        if hasattr(module, "dropout") and isinstance(module.dropout, float):
            module.dropout = 0.0
    rows = Pairs.of(TRAIN.take(range(5)), sides, model.file)
    assert len({*map(len, rows.written)}) > 1, "all alike: nothing is padded"
    found = -model(*rows.batch(np.arange(5)))[:, 0]
    for row in range(5):
        written = torch.tensor([rows.written[row]])
        given = torch.tensor([[*rows.opening, *rows.written[row][:-1]]])
        logits = model.model(
            input_ids=torch.tensor([rows.sources[row]]), decoder_input_ids=given
        ).logits
        loss = torch.nn.functional.cross_entropy(logits[0], written[0], label_smoothing=smoothing)
        torch.testing.assert_close(found[row], loss, atol=2e-5, rtol=1e-5)


def test_smoothing_counts_while_it_learns_and_not_where_it_is_judged(bart):
    plain, smooth = (model_of(bart, each)[0] for each in (0.0, 0.1))
    rows = Pairs.of(TRAIN.take(range(3)), sides_of(bart), plain.file).batch(np.arange(3))
    torch.testing.assert_close(plain(*rows), smooth(*rows))


def test_what_the_decoder_is_forced_to_begin_with_is_given_and_not_learnt(tmp_path):
    folder = make_tiny_seq2seq(tmp_path, "bart")
    config = (folder / "config.json").read_text()
    (folder / "generation_config.json").write_text('{"forced_bos_token_id": 7}')
    sides = sides_of(find_backbone(str(folder), kind="seq2seq"))
    assert (sides.opening, sides.before, sides.after) == ((1, 7), (), (2,))
    _, given, targets, _ = Pairs([[5, 2]], [[8, 9, 2]], sides.opening, 0).batch(np.array([0]))
    assert given[0, :4].tolist() == [1, 7, 8, 9]
    assert targets[0, :5].tolist() == [-1, 8, 9, 2, -1]
    (folder / "generation_config.json").unlink()
    (folder / "config.json").write_text(config.replace('"eos_token_id": 2', '"eos_token_id": null'))
    with pytest.raises(SettingError, match="begins and ends"):
        sides_of(find_backbone(str(folder), kind="seq2seq"))


def test_the_ladder_is_by_what_is_read():
    assert writers(None, "text") == ["nearest", "untuned", "scratch", "full"]
    assert writers(["scratch"], "text") == ["scratch"]
    with pytest.raises(SettingError, match="conversation"):
        writers(["lora"], "text")
    with pytest.raises(SettingError, match="prompted"):
        writers(["full"])
    for name in WRITERS.names():
        method = WRITERS.get(name)
        assert method.reads
        assert method.begins in ("pretrained", "drawn", "any")


@pytest.mark.parametrize("method", ["untuned", "full"])
def test_a_fit_leaves_what_it_writes_of_the_validation_rows(tmp_path, bart, method):
    settings = {"epochs": 1} if method == "full" else {}
    fit = tuner_in(tmp_path, bart)
    found = fit(candidate(bart, method, beams=2, **settings), TRAIN, HELD, silent)
    said = [as_said(row) for row in found.validation_logits]
    assert all(each is not None and each.right_tokens for each in said)
    names = {path.name for path in found.folder.iterdir()}
    assert {"model.safetensors", "translator.json", "config.json"} <= names


@pytest.mark.parametrize("kind", ["mbart", "m2m_100", "marian", "pegasus", "t5", "t5-gated"])
def test_every_kind_learns_in_half_the_bits_too(tmp_path, kind):
    folder = make_tiny_seq2seq(tmp_path / "model", kind)
    backbone = find_backbone(str(folder), kind="seq2seq")
    learning = candidate(backbone, "full", epochs=8, lr=3e-3, beams=1, batch_rows=8)
    found = tuner_in(tmp_path / "fits", backbone, bf16=True)(learning, TRAIN, HELD, silent)
    losses = [step["validation_log_loss"] for step in found.history]
    assert losses[-1] < losses[0]


def test_a_drawn_model_learns_its_rows(tmp_path, drawn):
    how = {"epochs": 30, "lr": 3e-3, "patience": 30, "evaluations": 1, "batch_rows": 8}
    learning = candidate(drawn, "scratch", beams=2, **how)
    found = tuner_in(tmp_path, drawn)(learning, TRAIN, TRAIN.take(range(12)), silent)
    said = [as_said(row) for row in found.validation_logits]
    right = sum(
        each is not None and each.text == str(target)
        for each, target in zip(said, TRAIN.target, strict=False)
    )
    assert right >= 9, said


def test_a_fit_that_was_killed_ends_with_the_same_bytes(tmp_path, drawn, monkeypatch):
    learning = candidate(drawn, "scratch", epochs=2, batch_rows=10)
    whole = tuner_in(tmp_path / "whole", drawn)(learning, TRAIN, HELD, silent)
    killed = tuner_in(tmp_path / "killed", drawn, checkpoint_steps=3)
    kept = Checkpoints.save

    def once(self, snapshot):
        kept(self, snapshot)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", once)
        with pytest.raises(KeyboardInterrupt):
            killed(learning, TRAIN, HELD, silent)
    told: list[str] = []
    again = killed(learning, TRAIN, HELD, lambda event: told.append(str(event)))
    assert any("Resuming at step 3" in text for text in told)
    one, two = (load_file(each.folder / "model.safetensors") for each in (whole, again))
    assert all((one[name] == two[name]).all() for name in one)


def test_a_drawn_model_is_the_same_again_and_gives_any_text_back(tmp_path, drawn):
    texts = [*map(str, TRAIN.texts), *map(str, TRAIN.target)]
    write_scratch(texts, 0, tmp_path, SMALL)
    assert describe_scratch(tmp_path, 0).sha256 == drawn.sha256
    sides = sides_of(drawn)
    assert all(sides.survives(text) for text in ("héllo </s> 中文 🙂", "%(name)s", "a  b"))
    assert not set(sides.said("a </s> <pad>")) & sides.silent
    assert drawn.licence == "none"
    assert drawn.drawn == 0


def test_models_of_another_make_are_refused(tmp_path):
    from sartor.core.errors import ModelError

    llama = find_backbone(str(make_tiny_llama(tmp_path / "llama")), kind="seq2seq")
    with pytest.raises(ModelError, match="encoder-decoder"):
        load_seq2seq(llama)
    assert load_language_model(llama) is not None
    with pytest.raises(ModelError, match="from_scratch"):
        find_backbone("minilm", kind="seq2seq")
    assert replace(llama, drawn=1) != llama
