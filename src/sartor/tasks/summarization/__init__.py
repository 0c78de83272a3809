"""Summarization: a document in, what matters of it out."""
