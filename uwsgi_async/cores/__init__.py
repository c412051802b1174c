"""Cores: the pool of tasks that handle requests, the connections they serve, and one request's life."""
