"""Requests and answers as pydantic models, from which the OpenAPI description is generated."""
