"""The options of alarms, and how the texts in them are read.

What lives here: one subsystem of `settings.Options`, and `split_alarm`. What does not: all other options (`settings`),
what an alarm does (`api.alarms`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from uwsgi_async.options.declare import Form, option

PLUGINS: Final = ("log", "cmd", "signal", "mule")

_ELSEWHERE: Final[Mapping[str, str]] = {
    "curl": "let a command do it, such as cmd:curl --data-binary @- https://example.com/alarm",
    "xmpp": "let a command do it, such as cmd:sendxmpp admin@example.com",
    "speech": "let a command do it, such as cmd:espeak",
    "airbrake": "let the app report its errors",
}
_LARGEST_SIGNAL: Final = 255


def split_alarm(text: str) -> tuple[str, str, str]:
    """Return name, plugin and argument of an alarm. Raises ValueError."""
    name, space, rest = text.partition(" ")
    plugin, colon, argument = rest.strip().partition(":")
    if not name or not space or not colon:
        raise ValueError("an alarm is a name, a space, and what it does: log:, cmd:, signal: or mule:")
    if plugin in _ELSEWHERE:
        raise ValueError(f"the alarm plugin {plugin} is not built: {_ELSEWHERE[plugin]}")
    if plugin not in PLUGINS:
        raise ValueError(f"there is no alarm plugin {plugin!r}, only {', '.join(PLUGINS)}")
    if plugin == "signal" and not (argument.isdecimal() and int(argument) <= _LARGEST_SIGNAL):
        raise ValueError(f"a signal is a number from 0 to {_LARGEST_SIGNAL}, not {argument!r}")
    if plugin == "mule" and not (argument.isdecimal() or not argument):
        raise ValueError(f"a mule is a number, not {argument!r}")
    if plugin == "cmd" and not argument.strip():
        raise ValueError("cmd: needs a command, such as cmd:mail -s alarm admin@example.com")
    return name, plugin, argument


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmOptions:
    """Alarms: what somebody is to be told at once. For `api.alarms`."""

    alarm: tuple[str, ...] = option(
        (),
        "alarm",
        repeat=True,
        form=Form("mailme cmd:mail -s alarm admin@example.com", split_alarm),
        help="what an alarm does: name log:prefix, name cmd:command (which reads it), name signal:17, name mule:1",
    )
    alarm_freq: float = option(
        3.0,
        "alarm-freq",
        unit="seconds",
        help="do not repeat an alarm with the same message earlier",
        minimum=0,
    )
    alarm_msg_size: int = option(
        8192, "alarm-msg-size", unit="bytes", help="longest message of an alarm; a longer one is dropped", minimum=1
    )
