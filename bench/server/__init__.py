"""What many clients do to a server, and what the server costs."""
