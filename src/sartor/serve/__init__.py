"""A bundle answers: in process, over HTTP, and as a function."""

from sartor.core.telemetry import silence

silence()  # before anything of the package loads ONNX Runtime
