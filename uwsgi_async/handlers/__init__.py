"""Handlers: how an app is called. A handler takes a `cores.request.Request` and answers it, nothing else."""
