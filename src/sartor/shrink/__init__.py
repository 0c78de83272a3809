"""Forms of a model: exported, made smaller, and compared with what was fitted."""

from sartor.core.telemetry import silence

silence()  # before anything of the package loads ONNX Runtime
