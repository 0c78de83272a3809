"""Texts to a level of an ordered list."""
