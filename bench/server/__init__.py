"""Load test of the server with many clients, and its cost compared with the Python API."""
