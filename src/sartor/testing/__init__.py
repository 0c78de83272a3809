from sartor.core.telemetry import silence

silence()  # before anything of the package loads ONNX Runtime
