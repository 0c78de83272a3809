"""Replies in the model's own words. `spec` serves and judges; how they are learnt: `tune.writers`."""
