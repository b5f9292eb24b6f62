"""The strategies once more, as a textbook has them: for scripted worlds, in plain Python, without a line of the engine.

A test asks both for the same search and compares visits, values, answers and tokens.
"""
