"""The options of an instance's place in the system: as which user it runs, and where it leaves its number and its log.

What lives here: one subsystem of `settings.Options`. What does not: all other ones (`settings`).
"""

from dataclasses import dataclass
from typing import ClassVar

from uwsgi_async.options.declare import option
from uwsgi_async.options.forms import MASTER_HOOK, MODE


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemOptions:
    """The user, the pidfile, the terminal. For `instance.standing` and `instance.daemon`."""

    FIXED: ClassVar = True

    uid: str | None = option(
        None, "uid", help="run as this user, a name or a number, as soon as the sockets are open; needs root"
    )
    gid: str | None = option(
        None, "gid", help="run as this group, a name or a number; without it as the user's own one"
    )
    add_gid: tuple[str, ...] = option(
        (), "add-gid", repeat=True, help="be in this group too; without any, in those that the user is in"
    )
    umask: str | None = option(None, "umask", form=MODE, help="take these permissions (in octal) from every new file")
    pidfile2: str | None = option(
        None, "pidfile2", "safe-pidfile2", help="write the instance's pid to this file, when the user has changed"
    )
    daemonize: str | None = option(
        None,
        "daemonize",
        "d",
        help="go on in the background when the sockets are open, without the terminal; the log goes to this file",
    )
    daemonize2: str | None = option(None, "daemonize2", help="the same when the instance serves")
    hook_master_start: tuple[str, ...] = option(
        (),
        "hook-master-start",
        repeat=True,
        form=MASTER_HOOK,
        help="for containers of uWSGI: SIGTERM stops gracefully, as it does here without this",
    )
