"""Runs of many questions: whether the last are as cheap as the first, and what a question costs the pool's driver."""
