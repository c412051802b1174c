"""Shared state: what every process and core of an instance sees alike, and what outlives the death of any of them.

Each kind of state is a module, or a package, of its own: the cache, the queue, shared areas, locks, metrics. Each
knows how it is created once, before the first fork, and attached in another process. What does not live here: the
documented functions (`api`), when an instance creates and attaches (`instance.state`).

The memory has no name in any file system: it is reached through file descriptors that child processes inherit, so
the kernel frees it with the last process, however that one ended.
"""
