"""Tests of the wire formats: no sockets, no event loop."""
