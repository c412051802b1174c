"""The libraries of a virtual environment, for an interpreter that does not run in it.

What lives here: `activate`, for the option ``home``. What does not: the rest of the import path (`loader`).
uWSGI starts its interpreter inside of the environment. Here the interpreter runs already, so the environment's
libraries come before the interpreter's own ones; what is imported already stays as it is.
"""

from __future__ import annotations

import os
import site
import sys
import sysconfig

from uwsgi_async.errors import AppLoadError


def activate(home: str) -> None:
    """Let modules be found in the virtual environment ``home``, and name it as `sys.prefix`.

    Raises `AppLoadError` when there is none, or it belongs to another version of Python.
    """
    home = os.path.abspath(home)
    if not os.path.isdir(home):
        raise AppLoadError(f"home: there is no directory {home!r}")
    paths = [sysconfig.get_path(kind, "venv", {"base": home, "platbase": home}) for kind in ("purelib", "platlib")]
    found = [path for path in dict.fromkeys(paths) if os.path.isdir(path)]
    if not found:
        raise AppLoadError(_why_not(home, paths[0]))
    before = len(sys.path)
    for path in found:
        site.addsitedir(path)  # reads .pth files too; appends what is new
    new = sys.path[before:]
    del sys.path[before:]
    position = min((sys.path.index(path) for path in _own() if path in sys.path), default=before)
    sys.path[position:position] = new
    sys.prefix = sys.exec_prefix = home
    python = os.path.join(home, "bin", "python")
    if os.path.exists(python):
        sys.executable = python


def _own() -> set[str]:
    """The directories of the interpreter's own libraries."""
    return {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()}


def _why_not(home: str, expected: str) -> str:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    library = os.path.join(home, "lib")
    others = sorted(name for name in os.listdir(library) if name.startswith("python")) if os.path.isdir(library) else []
    if others:
        return (
            f"home: {home!r} was made for {', '.join(others)}, but this is Python {version}: "
            "install uwsgi-async into it, and start that one"
        )
    return f"home: {home!r} is no virtual environment: there is no directory {expected!r}"
