"""The attention plan of a step."""
