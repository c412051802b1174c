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
from contextlib import nullcontext
from typing import Protocol

STDIN = "-"
_LARGEST = 16 << 20  # bytes of a file; a device has no end


class World(Protocol):
    """Files, environment and facts. ``reload``: whether this is a reload of an instance."""

    environ: Mapping[str, str]
    reload: bool

    def read(self, path: str) -> str:
        """Return the text of a file, of standard input for ``-``; bytes that are no UTF-8 are kept as surrogates.

        Raises OSError, and ValueError for a path or a file that cannot be meant.
        """

    def exists(self, path: str) -> bool:
        """True for anything that may be read."""

    def is_file(self, path: str) -> bool: ...

    def is_dir(self, path: str) -> bool: ...

    def glob(self, pattern: str) -> Sequence[str]: ...

    def inode(self, path: str) -> int: ...

    def real_path(self, path: str) -> str:
        """Return the real path; of a symbolic link the path as it is, made absolute."""

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
        self._began = time.time_ns()

    @property
    def hostname(self) -> str:
        return socket.gethostname()

    def read(self, path: str) -> str:
        with nullcontext(sys.stdin.buffer) if path == STDIN else open(path, "rb") as file:
            data = file.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise ValueError(f"it has more than {_LARGEST} bytes")
        return data.decode("utf-8-sig", "surrogateescape")

    def exists(self, path: str) -> bool:
        return os.access(path, os.R_OK)

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
        return os.path.join(os.getcwd(), path) if os.path.islink(path) else os.path.realpath(path)

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
            "t": str(self._began // 1_000_000_000),
            "T": str(self._began // 1000),
            "V": "2.0.31",
            "k": str(os.cpu_count() or 1),
            "[": "\033",
            "u": str(uid),
            "U": user,
            "g": str(gid),
            "G": group,
            "b": sys.argv[0],
        }
