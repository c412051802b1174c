"""Real uWSGI 2.0.31, the oracle: built from PyPI into ``.oracle/`` with its greenlet and asyncio plugins.

Each Python has its own, such as ``.oracle/3.11``: what both servers import must be made for both.
``python -m tests.parity.oracle`` builds it (about a minute); UWSGI_ORACLE names a binary that is there already.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2] / ".oracle" / sysconfig.get_python_version()
VERSION = "2.0.31"


def home() -> Path:
    """The virtual environment that the oracle runs in: it has greenlet."""
    return ROOT


def binary() -> Path:
    """Return the path of the oracle, built if it is not there. Raises RuntimeError when it cannot be built."""
    given = os.environ.get("UWSGI_ORACLE")
    path = Path(given) if given else ROOT / "bin" / "uwsgi"
    if not path.exists():
        if given:
            raise RuntimeError(f"UWSGI_ORACLE names {given}, which is not there")
        build()
    return path


def require() -> Path:
    """Return the oracle's path for a test. One that cannot be had is a skip with its reason, and an error under CI."""
    try:
        return binary()
    except RuntimeError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


def build() -> None:
    """Build the oracle. Needs a C compiler and the headers of the Python that runs."""
    print(f"building uWSGI {VERSION} into .oracle/{ROOT.name} (about a minute)", file=sys.stderr)
    python = str(ROOT / "bin" / "python")
    log = subprocess.run([sys.executable, "-m", "venv", str(ROOT)], capture_output=True, text=True)
    steps = [
        [python, "-m", "pip", "install", "--quiet", "greenlet", "setuptools", "wheel"],
        [python, "-m", "pip", "install", "--quiet", "--no-build-isolation", "--no-cache-dir", f"uwsgi=={VERSION}"],
    ]
    headers = f"{ROOT}/include/site/python{sysconfig.get_python_version()}"
    environment = {**os.environ, "UWSGI_PROFILE": "asyncio", "C_INCLUDE_PATH": headers}
    for step in steps:
        if log.returncode == 0:
            log = subprocess.run(step, capture_output=True, text=True, env=environment)
    if log.returncode != 0:
        raise RuntimeError(
            f"real uWSGI could not be built; it needs gcc and Python's headers (Debian: gcc, python3-dev):\n"
            f"{log.stderr[-2000:]}"
        )


if __name__ == "__main__":
    try:
        print(f"real uWSGI: {binary()}")
    except RuntimeError as error:
        sys.exit(str(error))
