"""Answers that stand in a text. `spec` serves and judges; `train` learns."""
