"""A second implementation of the strategies, from the textbook: plain Python for toy worlds, sharing no code with the
engine.

Tests run the same search with both and compare visits, values, answers and tokens.
"""
