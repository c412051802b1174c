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

HELP: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (FORMATS, "FILE[:SECTION]", "read options from this file; - is standard input"),
    (("include",), "FILE", "the same, by the file's suffix; in it %N is the name of the file around it"),
    (("inherit",), "FILE", "read options from this file behind all others; its placeholders are not replaced"),
    (("set",), "NAME=VALUE", "give an option"),
    (("set-placeholder", "set-ph"), "NAME=VALUE", "give a value for %(NAME), which must be no option"),
    (("resolve",), "NAME=HOST", "give the address of a host as value for %(NAME)"),
    (("for",), "WORDS", "repeat each option up to endfor for each word; %(_) is the word"),
    (("for-times",), "N", "repeat each option up to endfor N times; %(_) is the number"),
    (("for-glob",), "PATTERN", "repeat each option up to endfor for each file; %(_) is its path"),
    (("for-readline",), "FILE", "repeat each option up to endfor for each line of a file; %(_) is the line"),
    (
        ("if-env", "ifenv"),
        "NAME[=VALUE]",
        "take the options up to endif if the environment has this; %(_) is the value",
    ),
    (("if-opt",), "NAME[=VALUE]", "take the options up to endif if this option was given; %(_) is its value"),
    (("if-exists", "ifexists"), "PATH", "take the options up to endif if there is such a file or directory"),
    (("if-file",), "PATH", "take the options up to endif if there is such a file"),
    (("if-dir", "ifdir", "if-directory"), "PATH", "take the options up to endif if there is such a directory"),
    (("if-hostname",), "NAME", "take the options up to endif if this is the machine's name"),
    (("if-hostname-match",), "REGEX", "take the options up to endif if the machine's name matches"),
    (("if-plugin", "ifplugin"), "NAME", "take the options up to endif if the work of uWSGI's plugin is done here"),
    (("if-reload", "if-not-reload"), "", "take the options up to endif at a reload, or at the first start"),
    (tuple(f"if-not-{what}" for what in _CONDITIONS), "...", "take the options up to endif if it is not so"),
    (ENDS, "", "end the loop or condition"),
    (("print", "iprint"), "TEXT", "print the text; iprint as it stands, at once"),
    (("get",), "NAME", "print the value of an option and exit"),
    (("exit",), "[STATUS]", "exit at once"),
    (("blacklist", "whitelist"), "NAMES", "from here on, refuse these options, or all others"),
    (("end-blacklist", "end-whitelist"), "", "allow all options again"),
    (("strict",), "", "an unknown name in a config file is an error, not a placeholder"),
    (("show-config",), "", "print all that was read as one ini file before the start"),
    (("ignore-unsupported",), "", "start although there are options of uWSGI that are not supported here"),
)
"""Words, what they take, and what they do."""
