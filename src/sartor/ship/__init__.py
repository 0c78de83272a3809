"""Folders that put a judged bundle to work elsewhere: an image, a service, a function."""
