"""What a notebook shows of a loaded bundle."""

import html
from collections.abc import Sequence

from sartor.bundle.manifest import Manifest

_SHOWN = 20


def shown(manifest: Manifest, outputs: Sequence[str]) -> str:
    """HTML: its name and state, its first labels, and the verdicts, if there are any."""
    state = "released" if manifest.released else "unreleased: its need was not shown to be met"
    rows = "".join(
        f"<tr><td>{html.escape(str(v['criterion']))}</td><td>{v['value']:.4g}</td>"
        f"<td>{v['low']:.4g} – {v['high']:.4g}</td><td>{html.escape(str(v['state']))}</td></tr>"
        for v in manifest.verdicts
    )
    head = "<tr><th>criterion</th><th>value</th><th>interval</th><th>verdict</th></tr>"
    labels = ", ".join(map(html.escape, outputs[:_SHOWN]))
    return (
        f"<b>{html.escape(manifest.name)}</b> ({manifest.id[:12]}, {state})<br>labels: {labels}"
        + (f"<table>{head}{rows}</table>" if rows else "")
    )
