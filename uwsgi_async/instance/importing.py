"""Importing one module, by its name or by its file, and what it holds.

What lives here: `import_any`, `import_file`, `import_module`, `find_callable`. What does not: which ones, and in which
order (`loader`). All of them raise `AppLoadError` with a sentence; where the user's code has raised, its error is the
``__cause__``.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import ModuleType
from typing import Any

from uwsgi_async.errors import AppLoadError

FILE_SUFFIXES = (".py", ".wsgi")


def import_any(name: str) -> ModuleType:
    """Import what the options ``import`` and ``shared-import`` name: a file if it has a "/" or ends with ".py"."""
    if "/" in name or name.endswith(".py"):
        return import_file(name, "")
    return import_module(name)


def import_module(name: str) -> ModuleType:
    """Import a module by its name."""
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise AppLoadError(f"the module {name!r} raised {type(error).__name__}: {error}") from error


def import_file(path: str, prefix: str) -> ModuleType:
    """Import a Python file of any name, or a directory with an ``__init__.py``, under uWSGI's name for it.

    ``prefix``: what the module's name begins with. A file that is imported twice is two modules.
    """
    source = os.path.join(path, "__init__.py") if os.path.isdir(path) else path
    if not os.path.isfile(source):
        raise AppLoadError(f"there is no file {source!r} (looked in {os.getcwd()!r})")
    name = prefix + module_name(path)
    spec = ModuleSpec(name, SourceFileLoader(name, os.path.abspath(source)), is_package=source != path)
    spec.origin = os.path.abspath(source)
    spec.has_location = True
    if spec.submodule_search_locations is not None:
        spec.submodule_search_locations.append(os.path.abspath(path))
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(name)
    sys.modules[name] = module
    try:
        SourceFileLoader(name, os.path.abspath(source)).exec_module(module)
    except Exception as error:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before
        raise AppLoadError(f"the file {path!r} raised {type(error).__name__}: {error}") from error
    return module


def module_name(path: str) -> str:
    """Return uWSGI's name for the module of a file: "." and "/" become "_", and the ".py" goes."""
    return path.replace(".", "_").replace("/", "_").removesuffix("_py")


def find_callable(module: ModuleType, name: str) -> Any:
    """Return the app that a module holds under ``name``; a name that ends with "()" is called for it."""
    plain = name.removesuffix("()")
    found = getattr(module, plain, None)
    if found is None:
        names = sorted(key for key, value in vars(module).items() if callable(value) and not key.startswith("_"))
        raise AppLoadError(
            f"{module.__name__} has no {plain!r}; it has {', '.join(names) or 'no callables'}: "
            "name the app with --callable"
        )
    if plain != name:
        try:
            found = found()
        except Exception as error:
            raise AppLoadError(f"{name} in {module.__name__} raised {type(error).__name__}: {error}") from error
    if not callable(found):
        raise AppLoadError(f"{name!r} in {module.__name__} is not callable but {type(found).__name__}")
    return found
