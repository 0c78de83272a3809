"""ONNX Runtime reports to nobody; to be said before it is imported.

Its official builds report to their maker unless this variable is set before they are loaded:
https://github.com/microsoft/onnxruntime/blob/main/docs/Privacy.md. Whoever wants that sets it to 0.
"""

import os

SILENCE = "ORT_DISABLE_TELEMETRY"


def silence() -> None:
    """Set the variable, unless somebody has."""
    os.environ.setdefault(SILENCE, "1")
