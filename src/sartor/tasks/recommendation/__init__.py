"""What somebody may want next, from what they chose before. `spec` serves and judges; `train`
learns."""
