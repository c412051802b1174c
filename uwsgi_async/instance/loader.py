"""Finding and importing the app.

What lives here: `load_app`. What does not: how the app is called (`handlers`).
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from types import ModuleType
from typing import Any

from uwsgi_async.errors import AppLoadError
from uwsgi_async.options.settings import AppOptions


def load_app(options: AppOptions, applications: Any = None) -> Any:
    """Import and return the app that ``options`` name.

    ``applications``: called without arguments after the import; gives the dict of apps that the app's code has
    assigned to ``uwsgi.applications``, or None. Changes the working directory and the import path as told.
    Raises `AppLoadError` with a sentence that says what was looked for.
    """
    if options.chdir is not None:
        try:
            os.chdir(options.chdir)
        except OSError as error:
            raise AppLoadError(f"cannot change to the directory {options.chdir!r}: {error.strerror}") from error
    sys.path[:0] = [os.path.abspath(path) for path in options.pythonpath]
    name = options.callable
    if options.wsgi_file is not None:
        module = _import_file(options.wsgi_file)
    elif options.module is not None:
        path, _, callable_name = options.module.partition(":")
        name = callable_name or name
        module = _import_module(path)
    else:
        raise AppLoadError("there is no app: name one with --wsgi-file app.py or --module package.module:callable")
    return _find(module, name, applications() if applications is not None else None)


def _import_file(path: str) -> ModuleType:
    if not os.path.isfile(path):
        raise AppLoadError(f"there is no file {path!r} (looked in {os.getcwd()!r})")
    name = "uwsgi_file_" + "".join(c if c.isalnum() else "_" for c in os.path.splitext(path)[0].lstrip("./"))
    spec = importlib.util.spec_from_file_location(name, os.path.abspath(path))
    if spec is None or spec.loader is None:
        raise AppLoadError(f"{path!r} is not a Python file: its name must end with .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise AppLoadError(f"the app's file {path!r} raised {type(error).__name__}: {error}") from error
    return module


def _import_module(name: str) -> ModuleType:
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise AppLoadError(f"the app's module {name!r} raised {type(error).__name__}: {error}") from error


def _find(module: ModuleType, name: str, applications: dict[str, Any] | None) -> Any:
    app = getattr(module, name, None)
    if app is None and applications:
        app = applications.get("", applications.get("/", next(iter(applications.values()))))
    if app is None and name == "application":
        app = getattr(module, "app", None)
    if app is None:
        names = sorted(key for key, value in vars(module).items() if callable(value) and not key.startswith("_"))
        raise AppLoadError(
            f"{module.__name__} has no {name!r}; it has {', '.join(names) or 'no callables'}: "
            f"name the app with --callable"
        )
    if not callable(app):
        raise AppLoadError(f"{name!r} in {module.__name__} is not callable but {type(app).__name__}")
    return app
