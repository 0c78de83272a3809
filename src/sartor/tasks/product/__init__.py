"""A product: a text in, what several bundles make of it out."""
