"""Finds or downloads the files of a model, given its name."""
