"""Tuning: methods that change weights, one crash-safe loop, closed-form heads on activations."""
