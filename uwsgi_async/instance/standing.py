"""As which user an instance runs, and where its number stands.

What lives here: `Identity`, `identity_of`, `take_place`. What does not: the background (`daemon`), environment and
directory (`surroundings`).
"""

from __future__ import annotations

import grp
import logging
import os
import pwd
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from uwsgi_async.errors import UsageError
from uwsgi_async.instance.ownfile import OwnFile
from uwsgi_async.instance.requestlog import configured_logs
from uwsgi_async.instance.resources import limit_resources
from uwsgi_async.options.settings import Options
from uwsgi_async.options.system import SystemOptions

logger = logging.getLogger("uwsgi_async")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who to be. ``uid``, ``gid`` and ``groups``: None leaves them as they are."""

    uid: int | None
    gid: int | None
    groups: tuple[int, ...] | None

    def assume(self) -> None:
        """Become this user, for good. Raises `UsageError` when the system refuses."""
        try:
            if self.groups is not None and os.getuid() == 0:
                os.setgroups(self.groups)
            if self.gid is not None and os.getgid() != self.gid:
                os.setgid(self.gid)
            if self.uid is not None and os.getuid() != self.uid:
                os.setuid(self.uid)
        except OSError as error:
            raise UsageError(
                f"cannot become user {self.uid} and group {self.gid}: {error.strerror}; start it as root, or leave out "
                "uid and gid"
            ) from error


def identity_of(options: SystemOptions) -> Identity:
    """Return who to be by these options. Raises `UsageError` for a user or group that does not exist."""
    user = None if options.uid is None else find_user("uid", options.uid)
    gid = None if options.gid is None else find_group("gid", options.gid)
    account = _account(user) if user is not None else None
    if gid is None and account is not None:
        gid = account.pw_gid  # uWSGI would stay in root's
    if options.add_gid:
        groups: tuple[int, ...] | None = tuple(find_group("add-gid", name) for name in options.add_gid)
    elif account is not None and gid is not None:
        groups = tuple(os.getgrouplist(account.pw_name, gid))
    else:
        groups = None if gid is None else (gid,)
    return Identity(user, gid, groups)


def find_user(option: str, text: str) -> int:
    """Return the number of a user. Raises `UsageError` when there is none of this name."""
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        return pwd.getpwnam(text).pw_uid
    except (KeyError, ValueError) as error:
        raise UsageError(f"{option}: there is no user {text!r} on this machine") from error


def find_group(option: str, text: str) -> int:
    """Return the number of a group. Raises `UsageError` when there is none of this name."""
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        return grp.getgrnam(text).gr_gid
    except (KeyError, ValueError) as error:
        raise UsageError(f"{option}: there is no group {text!r} on this machine") from error


def find_owner(option: str, text: str) -> tuple[int, int]:
    """Return user and group of ``user:group``, or of ``user`` alone, as `os.chown` takes them."""
    user, colon, group = text.partition(":")
    return find_user(option, user), find_group(option, group) if colon else -1


def take_place(options: Options, stack: ExitStack) -> list[OwnFile]:
    """Limit resources, write the pidfiles and change the user, in uWSGI's order; return the files.

    ``stack`` removes them. Call it when the sockets are open: they may need what only root may. Raises `UsageError`.
    """
    limit_resources(options.resources)
    files = []
    if options.process.pidfile is not None:
        files.append(write_pidfile("pidfile", options.process.pidfile))
        stack.callback(_remover(files[-1]))
    _change_user(options)
    if options.system.pidfile2 is not None:
        files.append(write_pidfile("pidfile2", options.system.pidfile2))
        stack.callback(_remover(files[-1]))
    return files


def _change_user(options: Options) -> None:
    """Change the user, between the log files that root opens and those that only the user does."""
    identity, logs = identity_of(options.system), configured_logs()
    if logs is not None and options.loggers.logfile_chown:
        logs.chown(identity.uid, identity.gid)
    identity.assume()
    if logs is not None:
        logs.open_late()


def write_pidfile(option: str, path: str) -> OwnFile:
    """Write this process's id to a file: whole or not at all, where this user may make files in the directory."""
    text, new = f"{os.getpid()}\n", Path(f"{path}.{os.getpid()}.new")
    try:
        try:
            new.write_text(text)
        except PermissionError:
            Path(path).write_text(text)  # a file that root has made for this user
        else:
            _rename(new, path)
        return OwnFile.of(path)
    except OSError as error:
        raise UsageError(f"{option}: cannot write {path!r}: {error.strerror}") from error


def _rename(new: Path, path: str) -> None:
    try:
        new.replace(path)
    except OSError:
        new.unlink()
        raise


def _remover(file: OwnFile) -> Callable[[], None]:
    owner = os.getpid()

    def remove() -> None:
        if os.getpid() == owner:  # not in a process that was forked meanwhile
            file.remove()

    return remove


def _account(uid: int) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        return None  # a number may be used that nobody has
