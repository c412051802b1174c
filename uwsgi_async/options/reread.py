"""Options that were read again, for a reload: what of them comes into effect, and what has to wait for a restart.

What lives here: `keep_fixed`. What does not: which options are fixed (`settings`), reading them (`commandline`).
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from uwsgi_async.options.build import by_field
from uwsgi_async.options.settings import Options


def keep_fixed(running: Options, wanted: Options) -> tuple[Options, list[str]]:
    """Return ``wanted`` with the fixed options of ``running``, and a sentence for each that differs."""
    known = by_field()
    sentences: list[str] = []
    parts: dict[str, Any] = {}
    for part in fields(Options):
        before, after = getattr(running, part.name), getattr(wanted, part.name)
        kept = {}
        for field in fields(after):
            old, new = getattr(before, field.name), getattr(after, field.name)
            declared = known[field.name]
            if declared.fixed and old != new:
                kept[field.name] = old
                sentences.append(
                    f"{declared.flags[0]}: a reload cannot change {_shown(old)} to {_shown(new)}: restart for that"
                )
        parts[part.name] = replace(after, **kept)
    return Options(**parts), sentences


def _shown(value: object) -> str:
    """Return the value as it would be typed."""
    if isinstance(value, tuple):
        return ", ".join(map(_shown, value)) or "nothing"
    return "nothing" if value is None else str(value)
