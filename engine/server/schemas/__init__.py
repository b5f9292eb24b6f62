"""What requests and answers look like, as pydantic models: the OpenAPI description is made of them."""
