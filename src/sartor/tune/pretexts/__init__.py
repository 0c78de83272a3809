"""Pretext tasks: what a backbone learns from texts that nobody labelled. One file each."""
