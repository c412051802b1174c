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

_REQUIRED = (
    *FORMATS,
    *(word for word in (*LOOPS, *CONDITIONS) if not word.endswith("reload")),
    *("include", "inherit", "set", "set-placeholder", "set-ph", "resolve", "print", "iprint", "get"),
    *("blacklist", "whitelist"),
)
_NONE = ("if-reload", "if-not-reload", "strict", "show-config", "end-blacklist", "end-whitelist", "ignore-unsupported")

WORDS: dict[str, Takes] = {
    **dict.fromkeys(_REQUIRED, "required"),
    **dict.fromkeys(_NONE, "none"),
    **dict.fromkeys((*ENDS, "exit"), "optional"),
}
"""Each word, and whether it takes a value."""

SHORT = {"S": "set", "y": "yaml"}
"""The words that have a letter on the command line."""
