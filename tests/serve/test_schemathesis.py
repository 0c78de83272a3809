"""A tester that read nothing but the OpenAPI document: no fault, no violation, no ignored key.

schemathesis (MIT) needs a newer or older web stack than ours may have, so it is called as a program
from PATH, in whatever environment it lives: `pip install schemathesis` in a fresh one.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.serve.conftest import Serving

KEY = "0123456789abcdef0123456789abcdef"
PROGRAM = shutil.which("schemathesis")
CONFIG = Path(__file__).with_name("schemathesis.toml")
PHASES = ("examples", "coverage", "fuzzing", "stateful")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="no schemathesis program on this machine"),
]

Tester = Callable[..., dict[str, Any]]


@pytest.fixture
def tester(tmp_path: Path) -> Tester:
    """Runs schemathesis over a server's document and gives its report."""

    def run(url: str, *more: str) -> dict[str, Any]:
        report = tmp_path / "report.json"
        command = [str(PROGRAM), "--config-file", str(CONFIG), "run", f"{url}/openapi.json"]
        command += ["-H", f"Authorization: Bearer {KEY}", "--checks", "all", "--seed", "1"]
        command += ["--phases", ",".join(PHASES), "--continue-on-failure", *more]
        command += ["--report", "json", "--report-json-path", str(report)]
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PYTEST"))}
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env=kept,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        assert report.exists(), done.stderr[-2_000:] + done.stdout[-2_000:]
        return json.loads(report.read_text("utf-8"))

    return run


def test_nothing_that_schemathesis_can_think_of_is_a_fault(serving: Serving, tester: Tester):
    with serving(key=KEY) as running:
        found = tester(running.url, "--max-examples", "50")
        assert running.client.get("/readyz").status_code == 200
    assert found["failures"] == []
    assert found["errors"] == []
    assert found["operations"]["tested"] == found["operations"]["total"] >= 14
    assert {name: phase["status"] for name, phase in found["phases"].items()} == dict.fromkeys(
        PHASES, "success"
    )
    assert found["test_cases"]["generated"] > 1_000
    assert found["warnings"]["missing_auth"] == []


def test_the_tester_finds_a_server_whose_keys_nobody_checks(serving: Serving, tester: Tester):
    with serving() as running:
        found = tester(running.url, "--max-examples", "5")
    assert "IgnoredAuth" in {failure["type"] for failure in found["failures"]}
