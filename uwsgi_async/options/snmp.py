"""The options of SNMP: where an instance answers, and whom.

What lives here: one subsystem of `settings.Options`. What does not: all other ones (`settings`), the agent (`snmp`).
"""

from dataclasses import dataclass
from typing import ClassVar

from uwsgi_async.options.declare import option


@dataclass(frozen=True, slots=True, kw_only=True)
class SnmpOptions:
    """Numbers that the tools of network management read. For `snmp` and `instance.snmp`."""

    FIXED: ClassVar = True

    snmp: str | None = option(
        None,
        "snmp",
        bare="",
        help="answer SNMP (v1, v2c) at this UDP address, host:port; without one only the functions are there",
    )
    snmp_community: str | None = option(
        None, "snmp-community", help="answer who sends this word, of 72 bytes at most; nobody is answered without it"
    )

    @property
    def enabled(self) -> bool:
        """Whether the functions are there, as in uWSGI: one of the two options is enough."""
        return self.snmp is not None or self.snmp_community is not None

    @property
    def needs_master(self) -> bool:
        """Whether the command starts a master for it, as uWSGI does."""
        return bool(self.snmp)
