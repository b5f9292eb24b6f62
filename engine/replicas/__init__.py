"""Several engines in processes of their own that share the questions of a run."""
