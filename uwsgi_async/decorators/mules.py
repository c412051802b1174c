"""The decorators of mules and farms: `mule`, `muleloop`, `mulemsg`, `farm`, `mulefunc`.

What lives here: these, and the hook that runs the calls of `mulefunc`. What does not: messages (`api.mules`), what
else a mule does (`mules.running`).

Calls travel as pickles, in messages that begin with a secret of the instance: an app may send a mule what a client has
written, and nobody but the app itself may have that unpickled. uWSGI's own module unpickles every message.
"""

from __future__ import annotations

import inspect
import logging
import pickle
import sys
from collections.abc import Callable
from functools import partial, wraps
from types import ModuleType
from typing import Any, Final, ParamSpec, TypeVar, overload

from uwsgi_async.api import mules
from uwsgi_async.cores.portal import wait_for
from uwsgi_async.decorators.forks import chain, name_of
from uwsgi_async.errors import MuleError
from uwsgi_async.mules.mule import Mule

logger = logging.getLogger("uwsgi_async")

P = ParamSpec("P")
F = TypeVar("F", bound=Callable[..., Any])

mule_functions: Final[dict[str, Callable[..., Any]]] = {}
"""What `mulefunc` has decorated, by module and name."""


# --- programs of mules ----------------------------------------------------------------------------------------------


def mule(num: int) -> Callable[[F], F]:
    """Call the function once in the mule ``num``, when it begins. An error ends the mule, which begins again."""
    return partial(_run_in, lambda: mules.mule_id() == num, _once)


def muleloop(num: int) -> Callable[[F], F]:
    """Call the function again and again in the mule ``num``. An error ends the mule, which begins again."""
    return partial(_run_in, lambda: mules.mule_id() == num, _forever)


def mulemsg(num: int) -> Callable[[F], F]:
    """Call the function with each message to the mule ``num``. An error is logged, and the next message is taken."""
    return partial(_run_in, lambda: mules.mule_id() == num, partial(_each, mules.BLOCKING["mule_get_msg"]))


def farm(name: str) -> Callable[[F], F]:
    """Call the function with each message to the farm ``name``, in one of its mules that is free."""
    return partial(_run_in, lambda: bool(mules.in_farm(name)), partial(_each, mules.BLOCKING["farm_get_msg"]))


Call = Callable[..., Any]


def _run_in(is_here: Callable[[], bool], program: Callable[[str, Call], None], function: F) -> F:
    """Let ``program`` run the function in the processes that begin where ``is_here``."""

    @wraps(function)
    def run() -> None:
        if is_here():
            program(name_of(function), _plain(function))

    chain(run)
    return function


def _plain(function: Call) -> Call:
    """Return what calls the function in the thread of the mule; what is ``async`` runs in the event loop meanwhile."""
    if not inspect.iscoroutinefunction(function):
        return function
    return lambda *args: wait_for(_the_mule().run, partial(function, *args))


def _once(name: str, call: Call) -> None:
    try:
        call()
    except Exception as error:
        logger.exception("mule %d ends: %s raised an error", mules.mule_id(), name)
        raise SystemExit(1) from error


def _forever(name: str, call: Call) -> None:
    while not _the_mule().ending:
        _once(name, call)
    raise SystemExit(0)


def _each(get_msg: Callable[[], bytes | None], name: str, call: Call) -> None:
    """Call a function with each message; ``get_msg`` raises SystemExit when the mule is to end."""
    while True:
        message = get_msg()
        if message:
            try:
                call(message)
            except Exception:
                words = "mule %d: an error in %s for a message of %d bytes"
                logger.exception(words, mules.mule_id(), name, len(message))


def _the_mule() -> Mule:
    mule = mules.current_mule()
    assert mule is not None
    return mule


# --- functions that mules run ---------------------------------------------------------------------------------------


@overload
def mulefunc(f: Callable[P, Any]) -> Callable[P, bool]: ...
@overload
def mulefunc(f: int | str | bytes) -> Callable[[Callable[P, Any]], Callable[P, bool]]: ...
def mulefunc(f: Any) -> Any:
    """Let a call of the function run it in a mule: any mule, or ``@mulefunc(2)``, or ``@mulefunc("farm")`` in a farm.

    A call returns at once: True when it has a place in the queue; False, and a line in the log, when that is full. The
    arguments must be picklable. The function may be ``async def``; a call of it is not awaited. It is found again by
    its module and name, so a reload does not lose calls that wait. Raises `MuleError` when there is no such mule.
    """
    return _mulefunc(0, f) if callable(f) else partial(_mulefunc, f)


def _mulefunc(destination: int | str | bytes, function: Callable[P, Any]) -> Callable[P, bool]:
    key = f"{function.__module__}.{name_of(function)}"
    mule_functions[key] = function
    take_message_hook(sys.modules.get("uwsgi"))

    @wraps(function)
    def send(*args: P.args, **kwargs: P.kwargs) -> bool:
        return mules.mule_msg(_secret() + pickle.dumps((key, args, kwargs)), destination)

    return send


def mule_msg_dispatcher(message: bytes) -> Any:
    """Run the call that a message holds, and return what the function returns; for ``uwsgi.mule_msg_hook``.

    Other messages are for other hooks.
    """
    secret = _secret()
    if not message.startswith(secret):
        if len(mules.extra_hooks()) == 0:
            logger.info("*** mule %d received a %d bytes message ***", mules.mule_id(), len(message))
        return None
    key, args, kwargs = pickle.loads(message[len(secret) :])
    function = mule_functions.get(key)
    if function is None:
        raise MuleError(f"a call of {key} has come, but no function of that name is decorated with mulefunc here")
    return function(*args, **kwargs)


def take_message_hook(module: ModuleType | None) -> None:
    """Let the calls be run in mules: by ``uwsgi.mule_msg_hook``, or beside the hook that an app has set there."""
    if module is None or getattr(module, "mule_msg_hook", None) is mule_msg_dispatcher:
        return
    if getattr(module, "mule_msg_hook", None) is None:
        module.mule_msg_hook = mule_msg_dispatcher  # type: ignore[attr-defined]
    elif mule_msg_dispatcher not in mules.extra_hooks():
        mules.install_mule_msg_hook(mule_msg_dispatcher)


def _secret() -> bytes:
    queues = mules.queues_of_instance()
    if queues is None:
        raise MuleError("no mule configured: give the instance one with the option mule or mules")
    return queues.secret
