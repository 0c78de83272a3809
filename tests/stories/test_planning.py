"""What a plan waits for: only the libraries that it needs."""

import json
import subprocess
import sys

from tests.stories.conftest import Finished
from tests.stories.shop import environment

_WITHOUT_PEFT = """
import sys
sys.modules["peft"] = None
from sartor.cli import main
for verb in ("plan", "run"):
    sys.argv = ["sartor", verb, "need.yaml", "--json"]
    try:
        main()
    except SystemExit as ended:
        assert not ended.code, ended.code
    sys.stdout.write("\\f")
"""


def test_peft_is_not_imported_before_a_method_that_needs_it_is_fitted(shop: Finished):
    """Whether LoRA fits the backbone was found out by the first plan of the workspace."""
    need = shop.folder / "need.yaml"
    need.write_text(need.read_text().replace("[./tiny]}", "[./tiny], bundles: []}"))
    said = subprocess.run(
        [sys.executable, "-c", _WITHOUT_PEFT],
        cwd=shop.folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    plan, run = (json.loads(each) for each in said.stdout.removesuffix("\f").split("\f"))
    assert "lora" in [rung["rung"] for rung in plan["plan"]]
    assert run["state"] == "met"
