"""What a config file may ask of the machine it is read on.

What lives here: `World`, and `Machine`, the real one. A test gives another.
"""

from __future__ import annotations

import glob
import grp
import os
import pwd
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Protocol

STDIN = "-"


class World(Protocol):
    """Files, environment and facts. ``reload``: whether this is a reload of an instance."""

    environ: Mapping[str, str]
    reload: bool

    def read(self, path: str) -> str:
        """Return the text of a file, of standard input for ``-``. Raises OSError, and ValueError for no text."""

    def exists(self, path: str) -> bool: ...

    def is_file(self, path: str) -> bool: ...

    def is_dir(self, path: str) -> bool: ...

    def glob(self, pattern: str) -> Sequence[str]: ...

    def inode(self, path: str) -> int: ...

    def real_path(self, path: str) -> str:
        """Return the absolute path, symbolic links followed unless the file itself is one."""

    def resolve(self, name: str) -> str:
        """Return the IPv4 address of a host. Raises OSError."""

    def facts(self) -> Mapping[str, str]:
        """Return the magic variables that do not depend on a file, by their letters."""

    @property
    def hostname(self) -> str: ...


class Machine:
    """This machine and this process."""

    def __init__(self, *, reload: bool = False) -> None:
        self.environ: Mapping[str, str] = os.environ
        self.reload = reload

    @property
    def hostname(self) -> str:
        return socket.gethostname()

    def read(self, path: str) -> str:
        if path == STDIN:
            return sys.stdin.read()
        with open(path, encoding="utf-8") as file:
            return file.read()

    def exists(self, path: str) -> bool:
        return os.path.exists(path)

    def is_file(self, path: str) -> bool:
        return os.path.isfile(path)

    def is_dir(self, path: str) -> bool:
        return os.path.isdir(path)

    def glob(self, pattern: str) -> Sequence[str]:
        return [f"{path}/" if os.path.isdir(path) else path for path in sorted(glob.glob(pattern))]

    def inode(self, path: str) -> int:
        try:
            return os.lstat(path).st_ino
        except OSError:
            return 0

    def real_path(self, path: str) -> str:
        return os.path.abspath(path) if os.path.islink(path) else os.path.realpath(path)

    def resolve(self, name: str) -> str:
        return socket.gethostbyname(name)

    def facts(self) -> Mapping[str, str]:
        uid, gid = os.getuid(), os.getgid()
        try:
            user = pwd.getpwuid(uid).pw_name
        except KeyError:
            user = str(uid)
        try:
            group = grp.getgrgid(gid).gr_name
        except KeyError:
            group = str(gid)
        return {
            "v": os.getcwd(),
            "h": self.hostname,
            "t": str(int(time.time())),
            "T": str(time.time_ns() // 1000),
            "V": "2.0.31",
            "k": str(os.cpu_count() or 1),
            "[": "\033",
            "u": str(uid),
            "U": user,
            "g": str(gid),
            "G": group,
            "b": sys.argv[0],
        }
