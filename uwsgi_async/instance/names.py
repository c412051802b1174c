"""The names of an instance's processes in ps(1): which one each gets by itself.

What lives here: `name_process`. What does not: how a name is set (`api.naming`). Source: core/master.c, core/utils.c
(uwsgi_fork), core/config.c.
"""

from __future__ import annotations

from uwsgi_async.api import naming
from uwsgi_async.options.loggers import NameOptions

MASTER = "uWSGI master"


def name_process(options: NameOptions, role: str) -> None:
    """Call this process what the options say, if they say anything. ``role``: what it does, as "uWSGI worker 1".

    Called in each process of an instance, first of all.
    """
    prefix = options.procname_prefix or ""
    if options.procname_prefix_spaced is not None:
        prefix = f"{options.procname_prefix_spaced} "
    naming.set_affixes(prefix, options.procname_append or "")
    chosen = options.procname_master if role == MASTER else None
    chosen = chosen or options.procname
    if chosen or options.auto_procname or prefix or options.procname_append or options.procname_master:
        naming.setprocname(chosen or role)
