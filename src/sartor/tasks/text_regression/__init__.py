"""Texts to a number."""
