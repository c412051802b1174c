"""The words of the config language: options that say how to read the others, and configure nothing themselves."""

from __future__ import annotations

from typing import Literal

Takes = Literal["none", "required", "optional"]

FORMATS = ("ini", "yaml", "yml", "json", "js", "toml")
"""Options that load a file of that format."""

LOOPS = ("for", "for-glob", "for-times", "for-readline")
_CONDITIONS = ("opt", "env", "exists", "file", "dir", "plugin", "hostname", "hostname-match")

CONDITIONS = (
    *(f"if-{what}" for what in _CONDITIONS),
    *(f"if-not-{what}" for what in _CONDITIONS),
    *("ifenv", "ifexists", "ifplugin", "ifdir", "if-directory", "if-reload", "if-not-reload"),
)
ENDS = ("end", "endfor", "endif", "end-if", "end-for")

LATE = ("inherit", "print", "get")
"""Words that work when all placeholders are replaced; the others work at once, on the value as it is written."""

SWITCHES = ("strict", "show-config", "ignore-unsupported")

_REQUIRED = (
    *FORMATS,
    *(word for word in (*LOOPS, *CONDITIONS) if not word.endswith("reload")),
    *("include", "set", "set-placeholder", "set-ph", "resolve", "iprint", "blacklist", "whitelist"),
    *LATE,
)
_NONE = ("if-reload", "if-not-reload", "end-blacklist", "end-whitelist", *SWITCHES)

WORDS: dict[str, Takes] = {
    **dict.fromkeys(_REQUIRED, "required"),
    **dict.fromkeys(_NONE, "none"),
    **dict.fromkeys((*ENDS, "exit"), "optional"),
}
"""Each word, and whether it takes a value."""

SHORT = {"S": "set", "j": "json", "y": "yaml"}
"""The words that have a letter on the command line."""
