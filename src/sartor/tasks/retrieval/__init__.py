"""The right documents for a text. `spec` serves and judges; `train` learns."""
