"""The cache: named stores of keys and values that all processes of an instance share.

`caches` opens what the options configure; `local` is one cache, with `memory`, `layout`, `reading`, `writing`
and `blocks` below it; `store` keeps one in a file; `sweep` lets items expire; `remote` reaches those of other
instances.
Source of the behaviour: uWSGI's core/cache.c and its page "The uWSGI caching framework".
"""
