"""`marcot serve`: an HTTP server around an `AsyncEngine`, with OpenAI's interface and that of trees.

It needs what `pip install 'marcot[server]'` brings; nothing else of marcot imports it.
"""
