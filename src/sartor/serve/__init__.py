# Before anything of the package loads ONNX Runtime.
import sartor.core.telemetry  # noqa: F401
