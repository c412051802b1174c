"""Waiting for file descriptors and for time: one poller per event loop, the same on asyncio and trio."""
