"""Finding and importing the apps.

What lives here: `prepare` (the import path, shared imports), `load_apps` (imports, then every app that the options
name), `finish`. What does not: how one module is imported (`importing`), how an app is called (`handlers`), the
environment and the directory (`surroundings`).

The order is uWSGI's: `prepare` once in an instance, or in a generation under a master; `load_apps` behind it, or with
lazy-apps in each worker; in it ``import`` first, then ``module``, ``wsgi-file`` and each ``mount``; at last `finish`.
"""

from __future__ import annotations

import glob
import logging
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from uwsgi_async.compat.uwsgi_module import UwsgiModule
from uwsgi_async.errors import AppLoadError
from uwsgi_async.handlers.mounts import Apps, default_mountpoint
from uwsgi_async.instance.importing import FILE_SUFFIXES, find_callable, import_any, import_file, import_module
from uwsgi_async.instance.surroundings import change_directory
from uwsgi_async.instance.virtualenv import activate
from uwsgi_async.options.forms import read_pair
from uwsgi_async.options.loading import LoadOptions
from uwsgi_async.options.settings import Options

logger = logging.getLogger("uwsgi_async")

_DEFAULT_CALLABLE = "application"


@dataclass(frozen=True, slots=True)
class Source:
    """Where an app is. ``callable``: its name there; None is the one of the option ``callable``."""

    mountpoint: str
    path: str
    is_file: bool
    callable: str | None


def prepare(options: LoadOptions) -> None:
    """Set up what all imports share, and do the shared imports.

    Raises `AppLoadError`, but not for an import that fails while ``need_app`` is off.
    """
    if options.home is not None:
        activate(options.home)
    sys.argv = ["uwsgi", *options.pyargv.split()]
    _extend_path(options.pythonpath)
    _import_all(options.shared_imports, options)


class LoadedApps(dict[str, Any]):
    """Apps by their mountpoints; ``seconds``: how long each took to load."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: dict[str, float] = {}


def seconds_of(apps: Apps, mountpoint: str) -> float:
    """Return how long an app took to load; 0.0 for one that was not loaded here."""
    return apps.seconds[mountpoint] if isinstance(apps, LoadedApps) else 0.0


def load_apps(options: Options, module: UwsgiModule) -> LoadedApps:
    """Do the imports, and return the apps that ``options`` name, by their mountpoints, in the order of their numbers.

    ``module``: what ``import uwsgi`` gives; the code of an app may set its ``applications``. Raises `AppLoadError`;
    while ``need_app`` is off, what cannot be loaded is logged and left out.
    """
    load = options.load
    wanted = sources(load)
    if not wanted and load.need_app and not options.static.serves_files():
        raise AppLoadError(
            "there is no app: name one with --wsgi-file app.py, --module package.module:callable or --mount /x=app.py"
        )
    _import_all(load.imports, load)
    apps = LoadedApps()
    for source in wanted:
        began = time.monotonic()
        for mountpoint, app in _load_if_possible(source, load, module, len(apps)).items():
            if mountpoint in apps:
                logger.warning("mountpoint %s already configured. skip.", mountpoint)
                continue
            apps[mountpoint] = app
            apps.seconds[mountpoint] = time.monotonic() - began
    _tell(apps, None if options.app.no_default_app else default_mountpoint(apps))
    return apps


def finish(options: LoadOptions) -> None:
    """Do what comes when all is loaded, in the process that serves. Raises `UsageError`."""
    if options.chdir2 is not None:
        change_directory("chdir2", options.chdir2)


def sources(options: LoadOptions) -> list[Source]:
    """Return where the apps are, in the order of their numbers."""
    found = []
    if options.module is not None:
        path, _, name = options.module.partition(":")
        found.append(Source("", path, False, name or None))
    if options.wsgi_file is not None:
        found.append(Source("", options.wsgi_file, True, None))
    for text in options.mount:
        mountpoint, spec = read_pair(text)
        path, name = (spec, "") if spec.endswith(FILE_SUFFIXES) else _split(spec)
        found.append(Source(mountpoint, path, path.endswith(FILE_SUFFIXES), name or None))
    return found


def _split(spec: str) -> tuple[str, str]:
    path, _, name = spec.rpartition(":") if ":" in spec else (spec, "", "")
    return path, name


def _load_if_possible(source: Source, options: LoadOptions, module: UwsgiModule, number: int) -> Mapping[str, Any]:
    try:
        return _load(source, options, module)
    except AppLoadError as error:
        if options.need_app:
            raise
        logger.error("%s", error, exc_info=error.__cause__)
        logger.error(
            "unable to load app %d (mountpoint='%s') (callable not found or import error)", number, source.mountpoint
        )
        return {}


def _load(source: Source, options: LoadOptions, module: UwsgiModule) -> Mapping[str, Any]:
    """Return the app of a source below its mountpoint, or the apps of its ``applications`` below theirs."""
    name = source.callable or options.callable
    module.applications = None
    if source.is_file:
        found = import_file(source.path, "uwsgi_file_")
        several = None if hasattr(found, name.removesuffix("()")) else _applications(module, found)
    else:
        found = import_module(source.path)
        several = _applications(module, found)
    if several is None:
        if name == _DEFAULT_CALLABLE and not hasattr(found, name) and hasattr(found, "app"):
            name = "app"
        return {source.mountpoint: find_callable(found, name)}
    if not several:
        raise AppLoadError(f"you have to define at least one app in the applications dictionary of {source.path!r}")
    return {_text(key): _app_of(found, value) for key, value in several.items()}


def _applications(module: UwsgiModule, found: ModuleType) -> Mapping[Any, Any] | None:
    """Return the dict of apps that the user's code has assigned to ``uwsgi.applications``, or holds itself."""
    for holder in (module, found):
        applications = getattr(holder, "applications", None)
        if isinstance(applications, dict):
            return applications
    return None


def _app_of(found: ModuleType, value: object) -> Any:
    """Return an app of ``applications``, which may also be named, by str or bytes."""
    if isinstance(value, str | bytes):
        return find_callable(found, _text(value))
    if not callable(value):
        raise AppLoadError(f"an app in the applications of {found.__name__} is not callable but {type(value).__name__}")
    return value


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if not isinstance(value, str):
        raise AppLoadError(f"the app mountpoint must be a string, not {type(value).__name__}")
    return value


def _import_all(names: tuple[str, ...], options: LoadOptions) -> None:
    for name in names:
        try:
            import_any(name)
        except AppLoadError as error:
            if options.need_app:
                raise
            logger.error("%s", error, exc_info=error.__cause__)


def _extend_path(pythonpath: tuple[str, ...]) -> None:
    """Put the directories where uWSGI has them: ``pythonpath``, the last one first; the working directory; the rest.

    PYTHONPATH may have come by the option ``env``: then the interpreter does not know it yet.
    """
    here = os.getcwd()
    late = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path not in sys.path]
    sys.path[:] = [here, *late, *(path for path in sys.path if path != here)]
    for pattern in pythonpath:
        for path in sorted(glob.glob(pattern)) or [pattern]:
            sys.path.insert(0, os.path.abspath(path))


def _tell(apps: LoadedApps, default: str | None) -> None:
    for number, mountpoint in enumerate(apps):
        logger.info(
            "WSGI app %d (mountpoint='%s') ready in %d seconds pid: %d%s",
            number,
            mountpoint,
            apps.seconds[mountpoint],
            os.getpid(),
            " (default app)" if mountpoint == default else "",
        )
    if not apps:
        logger.warning("*** no app loaded: what is no static file is answered with 500 ***")
