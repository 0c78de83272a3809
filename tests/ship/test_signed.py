"""What ships signed is verified where it runs: there is what checks the signature, and no key."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from sartor.bundle import Bundle, sign_bundle
from sartor.ship.api import TARGETS, Parcel
from tests.ship.places import ALONE, lean_package, write

pytest.importorskip("cryptography", reason="needs sartor[sign]")

from sartor.bundle.keys import make_keys

_ASK = """
import json, sys
sys.path.insert(0, sys.argv[1])
import handler
print(json.dumps(handler.handler({"rows": ["money back"]}, None)))
"""
CHECKS = {"cryptography", "cffi", "pycparser"}


@pytest.fixture
def public(bundle: Bundle, tmp_path: Path) -> Path:
    """Of the key that signed the bundle."""
    found = make_keys(tmp_path / "team.pem")
    sign_bundle(bundle.folder, tmp_path / "team.pem")
    return found


def pinned(folder: Path) -> set[str]:
    """Names of what a folder installs in one version."""
    (listed,) = folder.rglob("requirements.txt")
    lines = listed.read_text("utf-8").splitlines()
    return {line.partition("==")[0] for line in lines if "==" in line}


@pytest.mark.parametrize("target", TARGETS.names())
def test_every_target_installs_what_checks_a_signature_where_there_is_one(
    target: str, bundle: Bundle, tmp_path: Path, request: pytest.FixtureRequest
):
    write(target, tmp_path / "plain", Parcel.of(bundle))
    request.getfixturevalue("public")
    write(target, tmp_path / "signed", Parcel.of(bundle))
    assert pinned(tmp_path / "signed") - pinned(tmp_path / "plain") == CHECKS
    assert not list((tmp_path / "signed").rglob("*.pem")), "whoever edits a folder edits its key"


def test_a_process_with_nothing_else_verifies_before_it_answers(
    bundle: Bundle, public: Path, tmp_path: Path
):
    write("lambda", tmp_path / "shipped", Parcel.of(bundle))
    package = lean_package(tmp_path / "shipped", tmp_path / "package")
    other = make_keys(tmp_path / "other.pem")

    def asked(key: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*ALONE, "-c", _ASK, str(package)],
            env={**os.environ, "SARTOR_VERIFY_KEY": str(key)},
            capture_output=True,
            text=True,
            check=False,
        )

    found = asked(public)
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["outputs"][0]["label"] == "refund"
    assert "was signed with the key" in asked(other).stderr
