"""Several labels a text. `spec` serves and judges; `train` learns."""
