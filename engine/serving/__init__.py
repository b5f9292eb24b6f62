"""An engine for many callers: one thread runs it, any number of tasks and threads ask it."""
