"""The kinds of work that an engine does, as routines that share the steps of its scheduler."""
