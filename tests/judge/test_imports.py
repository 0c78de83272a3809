import subprocess
import sys

SCRIPT = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "transformers"}:
            raise AssertionError(f"{name} was imported")

sys.meta_path.insert(0, Refuse())
from sartor.judge import chance, gaps, ledger, next_steps, planning, resolve, rival, verdicts

assert len(resolve.metrics()) >= 20
assert "sklearn" not in sys.modules
"""


def test_judging_imports_no_trainer_and_nothing_slow():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
