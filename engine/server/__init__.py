"""`marcot serve`: an HTTP server around an `AsyncEngine`, with OpenAI's interface and marcot's own for trees.

It needs the packages of `pip install 'marcot[server]'`; no other part of marcot imports it.
"""
