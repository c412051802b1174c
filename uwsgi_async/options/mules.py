"""The options of mules and farms, and how the texts in them are read.

What lives here: one subsystem of `settings.Options`, `programs` and `farms`. What does not: all other options
(`settings`), the mules themselves (`mules`, `instance.muleprocess`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from uwsgi_async.options.declare import Form, option


def split_farm(text: str) -> tuple[str, tuple[int, ...]]:
    """Return a farm's name and the numbers of its mules. Raises ValueError."""
    name, colon, numbers = text.partition(":")
    mules = tuple(dict.fromkeys(int(number) for number in numbers.split(",")))
    if not colon or not name or min(mules) < 1:
        raise ValueError("a farm is a name, a colon, and the numbers of its mules, from 1")
    return name, mules


def check_program(text: str) -> str:
    """Return what a mule is to run. Raises ValueError for what is neither a script nor a callable."""
    module, colon, name = text.partition(":")
    if text and not text.endswith(".py") and not (colon and module and name):
        raise ValueError("a mule runs a file that ends with .py, or module:callable")
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class MuleOptions:
    """Mules: processes that do what no client waits for. For `mules` and `instance`."""

    mule: tuple[str, ...] = option(
        (),
        "mule",
        repeat=True,
        bare="",
        form=Form("work.py or package.module:callable", check_program),
        fixed=True,
        help="add a mule that runs this; without a value one that gives each message to uwsgi.mule_msg_hook",
    )
    mules: tuple[int, ...] = option(
        (), "mules", repeat=True, help="add so many mules", minimum=0, maximum=1024, fixed=True
    )
    farm: tuple[str, ...] = option(
        (),
        "farm",
        repeat=True,
        form=Form("web:1,2", split_farm),
        fixed=True,
        help="give some mules a queue together, one of which takes each message: name:1,2",
    )
    mule_msg_size: int = option(
        0,
        "mule-msg-size",
        unit="bytes",
        help="memory for the messages that wait in a queue of mules; 0 = as much as the system gives a socket",
        minimum=0,
        maximum=1 << 30,
        fixed=True,
    )
    mule_msg_recv_size: int = option(
        65536,
        "mule-msg-recv-size",
        unit="bytes",
        help="longest message that reaches uwsgi.mule_msg_hook whole",
        minimum=1,
        maximum=1 << 30,
    )
    mule_harakiri: float = option(
        0.0,
        "mule-harakiri",
        unit="seconds",
        help="kill a mule in which a signal's handler, or the hook for one message, takes longer; 0 = no limit",
        minimum=0,
    )
    mule_reload_mercy: float = option(
        60.0,
        "mule-reload-mercy",
        unit="seconds",
        help="time for what a mule does when it is to end; then it is killed",
        minimum=0,
    )
    touch_mules_reload: tuple[str, ...] = option(
        (), "touch-mules-reload", repeat=True, help="replace the mules when this file is touched"
    )

    @property
    def needs_master(self) -> bool:
        """Whether something is asked for that the command starts a master for, as uWSGI does."""
        return self != MuleOptions()


def programs(options: MuleOptions, read: Iterable[str]) -> tuple[str, ...]:
    """Return what each mule runs, by its number from 1; "" is the hook for messages.

    ``read``: the options in the order in which they were given (`settings.Configuration.read`), because that is the
    order of the mules. Where it says something else, as behind a reload that cannot change the number of mules, and for
    `uwsgi_async.run`, those of ``mules`` come last.
    """
    ordered: list[str] = []
    for each in read:
        name, _, value = each.partition("=")
        if name == "mule":
            ordered.append(value)
        elif name == "mules" and value.isdecimal():
            ordered += [""] * int(value)
    plain = [*options.mule, *[""] * sum(options.mules)]
    return tuple(ordered if sorted(ordered) == sorted(plain) else plain)


def farms(options: MuleOptions) -> Mapping[str, tuple[int, ...]]:
    """Return the numbers of the mules of each farm, in the order of the farms' numbers."""
    return dict(split_farm(text) for text in options.farm)


def contradictions(options: MuleOptions, mules: Sequence[str]) -> Iterator[str]:
    """Yield a sentence for each farm that cannot be. ``mules``: what each runs."""
    names: set[str] = set()
    for text in options.farm:
        name, numbers = split_farm(text)
        if name in names:
            yield f"farm: there are two farms of the name {name}: give each its own"
        names.add(name)
        for number in numbers:
            if number > len(mules):
                yield f"farm {name}: there is no mule {number}, only {len(mules)}: add more by the option mules"
