"""What a learner can, from what they answered before. `spec` serves and judges; `train` learns."""
