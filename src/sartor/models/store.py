"""Where converted starters and weight digests are kept: SARTOR_HOME, or ~/.cache/sartor."""

import json
import os
from pathlib import Path
from uuid import uuid4

from sartor.core.hashing import digest, file_sha256


def store() -> Path:
    """The user's folder for what several workspaces share; not created here."""
    named = os.environ.get("SARTOR_HOME")
    return Path(named).expanduser() if named else Path.home() / ".cache" / "sartor"


def weights_sha256(path: Path) -> str:
    """SHA-256 of a large file, computed once for each (path, size, time of change).

    A store that cannot be written costs time on the next call, nothing else.
    """
    path = path.resolve()
    stat = path.stat()
    stamp = [str(path), stat.st_size, stat.st_mtime_ns]
    record = store() / "digests" / f"{digest(str(path))[:32]}.json"
    try:
        known = json.loads(record.read_bytes())
        if known["of"] == stamp:
            return str(known["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # absent or damaged: computed again
    sha256 = file_sha256(path)
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        staging = record.with_suffix(f".{uuid4().hex}")
        staging.write_text(json.dumps({"of": stamp, "sha256": sha256}))
        staging.rename(record)
    except OSError:
        pass
    return sha256
