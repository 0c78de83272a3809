"""Pairs of texts. `spec` serves and judges; `train` learns."""
