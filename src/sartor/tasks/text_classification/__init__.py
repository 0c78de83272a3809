"""Text classification. `spec` serves and judges; `train` learns."""
