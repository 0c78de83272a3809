"""The few distributions that answering imports, for places that weigh what is deployed.

Installed as pip would do it, sartor brings what its commands and its libraries' commands use: a
third of the size, and none of it is imported on the way from a text to an answer.
"""

from sartor.core.errors import MissingExtra
from sartor.ship.api import Parcel
from sartor.tasks.retrieval.cells import CELLS

RUNS_WITH = (
    "annotated-types",
    "numpy",
    "onnxruntime",
    "pydantic",
    "pydantic-core",
    "tokenizers",
    "typing-extensions",
    "typing-inspection",
)
"""What `sartor.serve.function` imports; `tests/ship/test_lean.py` answers where nothing else is."""
CELLS_WITH = "safetensors"
"""What reads the cells of documents."""


def more_of(parcel: Parcel) -> tuple[str, ...]:
    """What answering with this bundle, or with a part of it, imports besides `RUNS_WITH`."""
    names = (name.rpartition("/")[2] for name in parcel.bundle.manifest.files)
    return (CELLS_WITH,) if CELLS in names else ()


def lean_pins(parcel: Parcel) -> list[str]:
    """`name==version` of these, as they are installed here, and of what checks a signature.

    Raises:
        MissingExtra: If sartor no longer needs one of them.
    """
    wanted = {*RUNS_WITH, *more_of(parcel)}
    found = [pin for pin in parcel.pins("") if pin.partition("==")[0] in wanted]
    if len(found) != len(wanted):
        missing = wanted - {pin.partition("==")[0] for pin in found}
        raise MissingExtra(
            f"{', '.join(sorted(missing))} is not among what sartor needs here.",
            fix="install sartor with pip, so that what it needs is there.",
        )
    return [*found, *parcel.signing]
