"""An engine for many callers: one thread runs it, and any number of tasks and threads send it requests."""
