"""uWSGI's decorators of the spooler: a call of the function writes a task, and a spooler calls the function itself.

What lives here: `spool`, `spoolforever`, `spoolraw`, and `manage_spool_request`, which finds the function of a task.
What does not: the other decorators, tasks (`api.spooler`). Source: uWSGI's uwsgidecorators.py 2.0.31, so
a task of its decorators is run by ours, and the other way round.
"""

from __future__ import annotations

import functools
import inspect
import logging
import pickle
import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, Final, overload

from uwsgi_async.api import signals, spooler
from uwsgi_async.errors import NotConfiguredError
from uwsgi_async.spooler.decide import SPOOL_OK, SPOOL_RETRY

logger = logging.getLogger("uwsgi_async")

_RESERVED: Final = ("spooler", "priority", "at", "body")
_FUNCTION: Final = "ud_spool_func"
_RESULT: Final = "ud_spool_ret"

spooler_functions: dict[str, Callable[..., Any]] = {}
"""The decorated functions by their names, which are all that a task knows of them."""


class SpooledFunction:
    """A function whose call writes a task. ``f``: the function itself.

    A call returns the path of the task's file; of an ``async def`` it is to be awaited.
    """

    def __init__(self, f: Callable[..., Any], pass_arguments: bool, result: int | None) -> None:
        functools.update_wrapper(self, f)
        self.f = f
        self.pass_arguments = pass_arguments
        self._base = {_FUNCTION: f.__name__}
        if result is not None:
            self._base[_RESULT] = str(result)
        self.spool = self.__call__  # as before uWSGI 1.9.13

    def __repr__(self) -> str:
        return f"<SpooledFunction {self.f.__qualname__}>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        fields = {**self._base, **(self._pickled(args, kwargs) if self.pass_arguments else _merged(*args, **kwargs))}
        if inspect.iscoroutinefunction(self.f):
            return spooler.spool(fields)
        return spooler.BLOCKING["spool"](fields)

    def _pickled(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return the fields that hold the arguments; some of them are the task's own."""
        fields = dict(kwargs.pop("message_dict", {}))
        fields |= {name: kwargs.pop(name) for name in _RESERVED if name in kwargs}
        return {**fields, "args": pickle.dumps(args), "kwargs": pickle.dumps(kwargs)}


def _merged(fields: Mapping[Any, Any] | None = None, /, **more: Any) -> dict[Any, Any]:
    return {**(fields or {}), **more}


@overload
def spool(f: Callable[..., Any], /) -> SpooledFunction: ...
@overload
def spool(*, pass_arguments: bool = False) -> Callable[[Callable[..., Any]], SpooledFunction]: ...
def spool(f: Callable[..., Any] | None = None, /, *, pass_arguments: bool = False) -> Any:
    """Let a spooler run the function, once: ``@spool``, or ``@spool(pass_arguments=True)``.

    Called with a dict, keywords, or both, the function gets one dict of str. With ``pass_arguments`` it gets the
    arguments as they are; they are pickled. ``at``, ``priority``, ``spooler`` and ``body`` among the keywords are the
    task's. What the function returns has no meaning; when it raises, it is run again.
    """
    return spool_decorate(f, pass_arguments, SPOOL_OK)


@overload
def spoolforever(f: Callable[..., Any], /) -> SpooledFunction: ...
@overload
def spoolforever(*, pass_arguments: bool = False) -> Callable[[Callable[..., Any]], SpooledFunction]: ...
def spoolforever(f: Callable[..., Any] | None = None, /, *, pass_arguments: bool = False) -> Any:
    """Let a spooler run the function again and again, at each look at its directory. Otherwise as `spool`."""
    return spool_decorate(f, pass_arguments, SPOOL_RETRY)


@overload
def spoolraw(f: Callable[..., Any], /) -> SpooledFunction: ...
@overload
def spoolraw(*, pass_arguments: bool = False) -> Callable[[Callable[..., Any]], SpooledFunction]: ...
def spoolraw(f: Callable[..., Any] | None = None, /, *, pass_arguments: bool = False) -> Any:
    """As `spool`, but the function itself returns SPOOL_OK, SPOOL_RETRY or SPOOL_IGNORE."""
    return spool_decorate(f, pass_arguments, None)


def spool_decorate(f: Callable[..., Any] | None, pass_arguments: bool, result: int | None) -> Any:
    """Return the decorated function, or a decorator when there is none yet. ``result``: of each run; None: its own.

    Raises `NotConfiguredError` when the instance that runs has no spooler.
    """
    if f is None:
        return lambda function: spool_decorate(function, pass_arguments, result)
    if signals.current_end() is not None and spooler.current() is None:
        raise NotConfiguredError(
            f"{f.__qualname__}: this instance has no spooler: give it one with the option spooler, such as "
            "spooler = /var/spool/app"
        )
    before = spooler_functions.get(f.__name__)
    if before is not None and (before.__module__, before.__qualname__) != (f.__module__, f.__qualname__):
        logger.warning(
            "two functions for the spooler are called %s: tasks are for the one in %s", f.__name__, f.__module__
        )
    spooler_functions[f.__name__] = f
    module = sys.modules.get("uwsgi")
    if module is not None and getattr(module, "spooler", None) is None:
        take_spooler(module)
    return SpooledFunction(f, pass_arguments, result)


def take_spooler(module: ModuleType) -> None:
    """Let a ``uwsgi`` module run tasks of decorated functions, as importing uWSGI's decorators does."""
    module.spooler = manage_spool_request  # type: ignore[attr-defined]


def manage_spool_request(vars: Mapping[Any, Any]) -> Any:
    """Call the function of a task; importing `uwsgidecorators` makes this ``uwsgi.spooler``.

    Returns what is to become of the task, to be awaited for an ``async def``. Raises LookupError when the function is
    not there.
    """
    fields = {_text(key): value for key, value in vars.items()}
    function = spooler_functions.get(_text(fields.get(_FUNCTION, b"")))
    if function is None:
        name = fields.get(_FUNCTION)
        raise LookupError(f"there is no function for the spooler with the name {name!r}: was its module imported here?")
    result = _text(fields[_RESULT]) if _RESULT in fields else None
    if "args" in fields:
        returned = function(*pickle.loads(fields["args"]), **pickle.loads(fields["kwargs"]))
    else:
        returned = function({key: _text(value) for key, value in fields.items()})
    if inspect.isawaitable(returned):
        return _awaited(returned, result)
    return returned if result is None else int(result)


async def _awaited(returned: Any, result: str | None) -> Any:
    outcome = await returned
    return outcome if result is None else int(result)


def _text(value: Any) -> Any:
    """Return bytes as str; those that are no UTF-8 as they are."""
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value
