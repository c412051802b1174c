"""Websockets, from the client's side: raw frames, real clients, faults."""
