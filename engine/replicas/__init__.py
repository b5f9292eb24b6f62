"""Several engines, each in its own process, that share the questions of a run."""
