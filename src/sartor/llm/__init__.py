"""A language model behind a URL answers in a model's place: asked, checked, remembered."""
