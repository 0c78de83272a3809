"""Replies in the model's own words. `spec` serves and judges; `tune.writers` learn."""
