"""What an engine can be asked to do, as routines that share the steps of its scheduler."""
