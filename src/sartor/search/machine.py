"""What a workspace knows of this machine, measured once.

The precision probe on a busy machine may tell otherwise from run to run, and activations and fits
in another precision are other activations and fits: everything would be computed again.
"""

import json
import platform
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sartor.core.durable import write_durably
from sartor.core.hashing import digest, versions
from sartor.core.workspace import Workspace
from sartor.models.precision import Precision, probe
from sartor.search.turns import turn
from sartor.serve.runtime import cores

_CPUINFO = Path("/proc/cpuinfo")
_TELLING = ("model name", "flags", "Features")


def processor(cpuinfo: Path = _CPUINFO) -> str:
    """What the processor is and which instructions it has, as far as the system tells.

    Machines of one name are not one machine: a rented one wakes up on another processor.
    """
    try:
        lines = cpuinfo.read_text("utf-8", "replace").splitlines()
    except OSError:  # there is no such file outside Linux
        return platform.processor()
    told = (line for line in lines if line.partition(":")[0].strip() in _TELLING)
    return "\n".join(dict.fromkeys(told)) or platform.processor()


def precision(place: Workspace, measure: Callable[[], Precision] = probe) -> Precision:
    """The arithmetic to compute in: measured when this workspace first meets this machine.

    Args:
        place: Remembers it, by machine and version of torch.
        measure: How it is found.
    """
    file = place.folder / "machine.json"
    key = digest(platform.node(), processor(), cores(), versions("torch"))[:16]
    with turn(place.folder / "machine.lock", lambda: None):
        known = _read(file)
        if key not in known:
            known[key] = asdict(measure())
            write_durably(file, (json.dumps(known, indent=1, sort_keys=True) + "\n").encode())
        return Precision(**known[key])


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_bytes())
    except (FileNotFoundError, ValueError):  # what is damaged can be measured again
        return {}
    return found if isinstance(found, dict) else {}
