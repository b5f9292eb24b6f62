"""The server with many clients, killed and started again, and timed beside the Python API and llama-server."""
