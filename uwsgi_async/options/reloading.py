"""The options of reloads: what makes an instance reload, and how its master is told to.

What lives here: one subsystem of `settings.Options`. What does not: all other ones (`settings`).
"""

from dataclasses import dataclass

from uwsgi_async.options.declare import option


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadOptions:
    """When to reload, and how the master is told. For `instance.master`."""

    touch_reload: tuple[str, ...] = option(
        (), "touch-reload", repeat=True, help="reload when this file is touched, made or removed"
    )
    touch_workers_reload: tuple[str, ...] = option(
        (), "touch-workers-reload", repeat=True, help="replace the workers when this file is touched"
    )
    touch_chain_reload: tuple[str, ...] = option(
        (), "touch-chain-reload", repeat=True, help="replace the workers one after the other when this file is touched"
    )
    touch_spoolers_reload: tuple[str, ...] = option(
        (), "touch-spoolers-reload", repeat=True, help="replace the spoolers when this file is touched"
    )
    fs_reload: tuple[str, ...] = option(
        (), "fs-reload", repeat=True, help="reload when this file, or what is directly in this directory, has changed"
    )
    fs_brutal_reload: tuple[str, ...] = option(
        (), "fs-brutal-reload", repeat=True, help="the same, and the old workers do not finish their requests"
    )
    py_autoreload: float = option(
        0.0,
        "py-autoreload",
        "py-auto-reload",
        "python-autoreload",
        "python-auto-reload",
        unit="seconds",
        help="look so often whether a module of the app has changed, and reload; for development; 0 = never",
        minimum=0,
    )
    py_auto_reload_ignore: tuple[str, ...] = option(
        (), "py-auto-reload-ignore", repeat=True, help="py-autoreload does not look at this module"
    )
    reload_on_exception: bool = option(
        False, "reload-on-exception", help="replace a worker when its app has raised an exception"
    )
    reload_on_exception_type: tuple[str, ...] = option(
        (), "reload-on-exception-type", repeat=True, help="the same for an exception of this class, such as MemoryError"
    )
    reload_on_exception_value: tuple[str, ...] = option(
        (), "reload-on-exception-value", repeat=True, help="the same for an exception with this text"
    )
    reload_on_exception_repr: tuple[str, ...] = option(
        (), "reload-on-exception-repr", repeat=True, help="the same for both, such as ValueError: too large"
    )
    exit_on_reload: bool = option(False, "exit-on-reload", help="stop instead of reloading: somebody else starts again")
    master_fifo: tuple[str, ...] = option(
        (),
        "master-fifo",
        repeat=True,
        fixed=True,
        help="obey the letters that are written to this named pipe; ten at most, the first is slot 0",
    )
    notify_socket: str | None = option(
        None, "notify-socket", fixed=True, help="log the datagrams that are sent to this UNIX socket"
    )

    @property
    def needs_master(self) -> bool:
        """Whether something is asked for that only a master does."""
        return self != ReloadOptions()
