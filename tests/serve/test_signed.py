"""Where a key is set, whatever uses a bundle wants its signature; what makes one does not."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import sartor
from sartor.bundle import Bundle, sign_bundle
from sartor.core.errors import BundleError
from sartor.serve import timing
from sartor.serve.deploying import deploy
from sartor.serve.run import prepare
from sartor.serve.settings import ServeSettings
from tests.serve.deployed import deployment

pytest.importorskip("cryptography", reason="needs sartor[sign]")

from sartor.bundle.keys import make_keys


@pytest.fixture
def private(tmp_path: Path) -> Path:
    make_keys(tmp_path / "team.pem")
    return tmp_path / "team.pem"


@pytest.fixture
def public(private: Path) -> str:
    return str(private.with_name("team.pub.pem"))


def test_loading_wants_the_signature_where_a_key_is_given_or_set(
    bundle: Bundle, private: Path, public: str, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(BundleError, match="is not signed"):
        sartor.load(bundle.folder, verify_key=public)
    monkeypatch.setenv("SARTOR_VERIFY_KEY", public)
    with pytest.raises(BundleError, match="is not signed"):
        sartor.load(bundle.folder)
    sartor.load(bundle.folder, verify_key="").predict(["money back"])
    sign_bundle(bundle.folder, private)
    assert sartor.load(bundle.folder).predict(["money back"])[0]["label"] == "refund"


def test_a_server_does_not_start_on_an_unsigned_bundle(bundle: Bundle, private: Path, public: str):
    settings = ServeSettings(str(bundle.folder), port=0, verify_key=public)
    with pytest.raises(BundleError, match="is not signed"):
        prepare(settings)
    sign_bundle(bundle.folder, private)
    _, listener = prepare(settings)
    listener.close()


def test_nothing_unsigned_is_deployed(
    make_bundle: Callable[..., Bundle],
    tmp_path: Path,
    private: Path,
    public: str,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("SARTOR_VERIFY_KEY", public)
    made, place = make_bundle(), deployment(tmp_path / "work")
    with pytest.raises(BundleError, match="is not signed"):
        deploy(place, made.folder)
    sign_bundle(made.folder, private)
    assert deploy(place, made.folder).live.id == made.manifest.id


def test_what_is_being_made_is_timed_unsigned(
    bundle: Bundle, public: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SARTOR_VERIFY_KEY", public)
    load = timing.Load(requests=2, threads=1, processes=1, warm_up=1)
    assert timing.measure(bundle.folder, ["money back"], load).shape == (1, 2)


def test_a_signed_folder_that_is_copied_serves(
    bundle: Bundle, private: Path, public: str, tmp_path: Path
):
    sign_bundle(bundle.folder, private)
    copy = shutil.copytree(bundle.folder, tmp_path / "copy")
    assert sartor.load(copy, verify_key=public).id == bundle.manifest.id
