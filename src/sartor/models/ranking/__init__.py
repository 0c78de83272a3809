"""Which backbone fits the data, told from frozen activations: scores, their doubt, and a race."""
