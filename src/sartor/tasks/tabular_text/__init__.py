"""Columns of a row, with a text beside them or alone. `spec` serves and judges; `train` learns."""
