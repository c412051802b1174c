"""How an option is declared: once, as a field of the frozen dataclass that its subsystem gets.

What lives here: `option`, which hangs the flag, aliases, unit and help on a dataclass field, and `declarations`,
which reads them back. What does not: any particular option (`settings.py`), the command line (`commandline.py`).
"""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, get_type_hints

_KEY = "uwsgi_async.option"


@dataclass(frozen=True, slots=True)
class Form:
    """What the text of an option must be made of.

    ``example``: one value, for messages and help. ``read``: takes the text apart; raises ValueError when it cannot.
    """

    example: str
    read: Callable[[str], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """What one option is.

    ``flags``: every spelling without dashes, the main one first; a one-letter spelling is the short form. Without any
    it is no option of a person: see `settings.Configuration`.
    ``minimum`` and ``maximum``: the range of a number, both included; None is no bound. ``clamp``: in a config file a
    number beyond the maximum means the maximum. ``repeat``: given several times, the values add up to a tuple.
    ``unit``: "seconds", "bytes" or "". ``bare``: the value when the option is given without one; None: it needs one.
    ``placeholders``: ``%(...)`` means something to the option itself. ``form``: what its text must be made of; None is
    any text. ``fixed``: a reload does not change it. ``field``: name of the dataclass field; ``type``: its type;
    ``default``: its default. ``subsystem``: the dataclass it belongs to.
    """

    flags: tuple[str, ...]
    help: str
    unit: str
    repeat: bool
    field: str
    type: Any
    default: Any
    subsystem: type
    minimum: float | None
    maximum: float | None
    bare: str | None
    placeholders: bool
    clamp: bool
    form: Form | None
    fixed: bool


def option(
    default: Any,
    *flags: str,
    help: str,
    unit: str = "",
    repeat: bool = False,
    minimum: float | None = None,
    maximum: float | None = None,
    bare: str | None = None,
    placeholders: bool = False,
    clamp: bool = False,
    form: Form | None = None,
    fixed: bool = False,
) -> Any:
    """Declare an option as a dataclass field.

    ``flags`` are uWSGI's spellings, without the leading dashes, the main one first. ``minimum`` and ``maximum`` are
    the range of a number, both included; None is no bound. ``bare``, ``placeholders``, ``clamp``, ``form`` and
    ``fixed``: see `Declaration`.
    """
    declared = {
        "flags": flags,
        "help": help,
        "unit": unit,
        "repeat": repeat,
        "minimum": minimum,
        "maximum": maximum,
        "bare": bare,
        "placeholders": placeholders,
        "clamp": clamp,
        "form": form,
        "fixed": fixed,
    }
    return dataclasses.field(default=default, metadata={_KEY: declared})


def declarations(subsystem: type) -> Iterator[Declaration]:
    """Yield the declared options of a subsystem's dataclass in the order of their declaration.

    A subsystem with the class variable ``FIXED`` is one whose options are all fixed.
    """
    hints = get_type_hints(subsystem)
    for field in dataclasses.fields(subsystem):
        yield Declaration(
            field=field.name,
            type=hints[field.name],
            default=field.default,
            subsystem=subsystem,
            **{**field.metadata[_KEY], "fixed": field.metadata[_KEY]["fixed"] or getattr(subsystem, "FIXED", False)},
        )
