"""Which file a path names, and whether it may be sent.

What lives here: `Files`, the maps from paths to files, and `Found`. What does not: methods, conditions, headers
(`handler`).

A path is first opened with O_PATH: that follows symbolic links and pins what is there, but touches it no further. The
kernel then tells its real name, and only what is below the root, or in a safe directory, is opened to be read, through
the pin. So nothing that changes between the judgement and the reading can lead somewhere else, and no rule about dots,
slashes or links has to be written here a second time.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from uwsgi_async.options.forms import read_pair
from uwsgi_async.options.loading import StaticOptions

logger = logging.getLogger("uwsgi_async")

_PIN = os.O_PATH | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
# The path names nothing, or nothing that this process may see. All else is trouble of the machine, and is raised.
_NOTHING = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG})
_MOST_DOCROOTS = 64  # that front ends name, and that are remembered


class Found:
    """An open file that may be sent. Use it in a ``with`` block, which closes it.

    ``fd``: to read from. ``path``: the real one, absolute. ``root``: below which it was found. ``size``: bytes.
    ``mtime``: unix seconds of the last change.
    """

    __slots__ = ("fd", "mtime", "path", "root", "size")

    def __init__(self, fd: int, path: bytes, root: Root, status: os.stat_result) -> None:
        self.fd = fd
        self.path = path
        self.root = root
        self.size = status.st_size
        self.mtime = int(status.st_mtime)

    def __repr__(self) -> str:
        return f"<Found {self.path!r}, {self.size} bytes>"

    def __enter__(self) -> Found:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)


class Root:
    """A directory or file of the options. It may come to be later than the instance; then it is found when it is."""

    def __init__(self, path: str | bytes) -> None:
        self._given = os.path.abspath(os.fsencode(path))
        self._real = b""
        self._is_file = False
        if not self.real:
            logger.warning("[uwsgi-static] %r is not there: nothing is sent from it", os.fsdecode(self._given))

    def __repr__(self) -> str:
        return f"<Root {self._given!r}{'' if self._real else ', not there'}>"

    @property
    def real(self) -> bytes:
        """The real path, found once, as in uWSGI: a link that is changed needs a reload. b"" while there is none."""
        if not self._real:
            try:
                self._real = os.path.realpath(self._given, strict=True)
            except OSError:
                return b""
            self._is_file = os.path.isfile(self._real)
        return self._real

    def path_of(self, rest: bytes) -> bytes:
        """Return where ``rest`` is, below the directory; the root itself if it is a file."""
        return self._real if self._is_file else self._real + b"/" + rest

    def holds(self, path: bytes) -> bool:
        """Whether a real path is the root, or below it."""
        real = self.real
        return path == real or (real != b"" and path.startswith(real.rstrip(b"/") + b"/"))


@dataclass(frozen=True, slots=True)
class Map:
    """``prefix``: of the paths that it is for, b"" for all. ``whole``: whether the path is looked for below the root
    with its prefix.
    """

    prefix: bytes
    root: Root
    whole: bool

    def rest(self, path: bytes) -> bytes | None:
        """Return what is to be looked for below the root; None when the map is not for this path."""
        prefix = self.prefix
        if not path.startswith(prefix):
            return None
        rest = path[len(prefix) :]
        if rest and prefix and not prefix.endswith(b"/") and not rest.startswith(b"/"):
            return None  # /static is not the beginning of /statics
        return path if self.whole else rest


class Files:
    """All maps of an instance, in uWSGI's order: check-static, static-map, static-map2; behind them the docroot."""

    def __init__(self, options: StaticOptions) -> None:
        self._maps = [Map(b"", Root(path), True) for path in options.check_static]
        for texts, whole in ((options.static_map, False), (options.static_map2, True)):
            for prefix, path in map(read_pair, texts):
                self._maps.append(Map(os.fsencode(prefix), Root(path), whole))
        self._indexes = [os.fsencode(name) for name in options.static_index]
        self._skipped = tuple(os.fsencode(suffix) for suffix in options.static_skip_ext)
        self._safe = [Root(path) for path in options.static_safe]
        self._docroots: dict[bytes, Root] = {}

    def find(self, path: bytes, docroot: bytes = b"") -> Found | None:
        """Return the file that ``path`` (a PATH_INFO) names; None when there is none, or none that may be sent.

        ``docroot``: one more directory to look into. Raises OSError when the machine is out of something.
        """
        if path.endswith(self._skipped):
            return None
        for root, rest in self._candidates(path, docroot):
            if root.real:
                found = self._open(root.path_of(rest), root)
                if found is not None:
                    return found
        return None

    def beside(self, found: Found, suffix: bytes) -> Found | None:
        """Return the file whose name is that of another one with ``suffix`` behind it. Raises as `find`."""
        with Pin(found.path + suffix) as pin:
            return self._judge(pin, found.root) if pin.is_file else None

    def _open(self, path: bytes, root: Root) -> Found | None:
        """Return the file at ``path``, or the index of the directory there, if it may be sent."""
        with Pin(path) as pin:
            if pin.is_directory:
                for name in self._indexes:
                    with Pin(name, pin.fd) as index:
                        found = self._judge(index, root) if index.is_file else None
                        if found is not None:
                            return found
            return self._judge(pin, root) if pin.is_file else None

    def _candidates(self, path: bytes, docroot: bytes) -> Iterator[tuple[Root, bytes]]:
        for each in self._maps:
            rest = each.rest(path)
            if rest is not None:
                yield each.root, rest
        if docroot:
            yield self._docroot(docroot), path

    def _docroot(self, path: bytes) -> Root:
        if path not in self._docroots:
            if len(self._docroots) >= _MOST_DOCROOTS:
                self._docroots.clear()
            self._docroots[path] = Root(path)
        return self._docroots[path]

    def _judge(self, pin: Pin, root: Root) -> Found | None:
        """Open a pinned file if it may be sent."""
        path = pin.real_path()
        if path.endswith(self._skipped):
            return None
        if not root.holds(path) and not any(place.holds(path) for place in self._safe):
            logger.warning(
                "[uwsgi-fileserve] security error: %r is not under %r or a safe path",
                os.fsdecode(path),
                os.fsdecode(root.real),
            )
            return None
        return open_pinned(pin, path, root)


def open_pinned(pin: Pin, path: bytes, root: Root) -> Found | None:
    """Return what is pinned, opened; None when this process may not read it. ``path``: the real one."""
    try:
        fd = pin.open()
    except PermissionError:
        logger.warning("[uwsgi-fileserve] %r: permission denied", os.fsdecode(path))
        return None
    return Found(fd, path, root, pin.status)


class Pin:
    """What is at a path, held but not opened, for a ``with`` block."""

    def __init__(self, path: bytes, directory: int | None = None) -> None:
        self.fd = -1
        self.is_file = self.is_directory = False
        try:
            self.fd = os.open(path, _PIN, dir_fd=directory)
        except OSError as error:
            if error.errno not in _NOTHING:
                raise
            return
        except ValueError:  # a NUL byte
            return
        self.status = os.fstat(self.fd)
        self.is_file = stat.S_ISREG(self.status.st_mode)
        self.is_directory = stat.S_ISDIR(self.status.st_mode)

    def __enter__(self) -> Pin:
        return self

    def __exit__(self, *_: object) -> None:
        if self.fd >= 0:
            os.close(self.fd)

    def real_path(self) -> bytes:
        """Return the path of what is held, as the kernel tells it."""
        return os.readlink(b"/proc/self/fd/%d" % self.fd)

    def open(self) -> int:
        """Open just what is held for reading. Raises PermissionError."""
        return os.open(b"/proc/self/fd/%d" % self.fd, _READ)
