"""Labelled parts of a text: named entities, slots. `spec` serves and judges; `train` learns."""
