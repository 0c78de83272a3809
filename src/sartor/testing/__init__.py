"""What every plug-in must obey: laws to import into a test module."""

from sartor.core.telemetry import silence

silence()  # before anything of the package loads ONNX Runtime
