"""Runs of many questions: whether the last cost no more than the first, and what a question costs a pool's driver."""
