"""Where ``import uwsgidecorators`` finds our module: behind all others, so one that is installed is taken instead.

What lives here: `decorators_found`. What does not: the module (`uwsgidecorators`). Why it is no top-level file of this
package: uWSGI installs one of that name, and two packages must not own one file.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Final

_NAME: Final = "uwsgidecorators"
_FILE: Final = Path(__file__).with_name(f"{_NAME}.py")


class _Finder(MetaPathFinder):
    """Finds the one module."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None, /
    ) -> ModuleSpec | None:
        return spec_from_file_location(_NAME, _FILE) if fullname == _NAME else None


@contextmanager
def decorators_found() -> Iterator[None]:
    """Let ``import uwsgidecorators`` work while the block runs.

    What was imported is forgotten at the end: it has set its hooks in the ``uwsgi`` module of this instance.
    """
    finder = _Finder()
    sys.meta_path.append(finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        sys.modules.pop(_NAME, None)
