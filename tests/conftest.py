"""What holds for all tests: no verdict hangs on a clock, and workers do not fight for the cores."""

import logging
import os
from pathlib import Path

import pytest
from hypothesis import settings

# Several workers fill the cores; threads beyond that only wait for one another.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# What is compared bit by bit is so on a CPU: a GPU adds in an order of its own. `make check-gpu`
# asks for one.
if not os.environ.get("SARTOR_TEST_GPU"):
    os.environ["CUDA_VISIBLE_DEVICES"] = ""

# No test asks the network for a model that happens not to be installed.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# A machine that is busy with something else takes longer over an example.
settings.register_profile("busy", deadline=None)
settings.load_profile("busy")

# torch describes every step of an export to this logger once it has a listener, and pytest listens
# to each logger that hands nothing on: pages that stand before what a failed test says.
logging.getLogger("torch.__trace").addHandler = lambda handler: None


@pytest.fixture(scope="session")
def common(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers share, for what any of them made and others would make again.

    Whoever puts something there must put it whole, or not at all.
    """
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
