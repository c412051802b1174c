"""A machine that is nothing but a few texts, and short ways to read a configuration on it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import pytest

from uwsgi_async.errors import OptionError
from uwsgi_async.options.config.engine import Reading, read
from uwsgi_async.options.config.entries import COMMAND_LINE, Entry
from uwsgi_async.options.resolve import names


class Paper:
    """A machine that is nothing but a few texts."""

    def __init__(
        self, files: Mapping[str, str], environ: Mapping[str, str] | None = None, reload: bool = False
    ) -> None:
        self.files = files
        self.environ: Mapping[str, str] = environ or {}
        self.reload = reload
        self.hostname = "paper"

    def read(self, path: str) -> str:
        if path not in self.files:
            raise FileNotFoundError(2, "No such file or directory")
        return self.files[path]

    def exists(self, path: str) -> bool:
        return path in self.files

    is_file = exists

    def is_dir(self, path: str) -> bool:
        return any(name.startswith(f"{path}/") for name in self.files)

    def glob(self, pattern: str) -> Sequence[str]:
        return [name for name in self.files if re.fullmatch(pattern.replace("*", ".*"), name)]

    def inode(self, path: str) -> int:
        return 1

    def real_path(self, path: str) -> str:
        return f"/etc/apps/{path}"

    def resolve(self, name: str) -> str:
        if name != "known":
            raise OSError
        return "10.0.0.1"

    def facts(self) -> Mapping[str, str]:
        return {"h": self.hostname, "v": "/etc/apps", "k": "2"}


def is_option(name: str) -> bool:
    return name in names()


def reading(text: str, *, environ: Mapping[str, str] | None = None, reload: bool = False, **files: str) -> Reading:
    world = Paper(
        {"app.ini": text, **{name.replace("_", "."): content for name, content in files.items()}}, environ, reload
    )
    return read([Entry("ini", "app.ini", COMMAND_LINE)], [], world, is_option)


def listed(text: str, **more: str) -> list[tuple[str, str | None]]:
    """Return all that ``--show-config`` would print of an ini file but the file itself."""
    return [(entry.key, entry.value) for entry in reading("[uwsgi]\n" + text, **more).listed][1:]


def options(text: str, **more: str) -> list[tuple[str, str | None]]:
    return [(entry.key, entry.value) for entry in reading("[uwsgi]\n" + text, **more).entries]


def error_of(text: str, **more: str) -> str:
    with pytest.raises(OptionError) as caught:
        reading("[uwsgi]\n" + text, **more)
    return str(caught.value)
