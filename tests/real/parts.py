"""The real programs that these tests need: found, or the reason why a test cannot run."""

from __future__ import annotations

import os
import shutil

import pytest


def require(program: str, package: str) -> str:
    """Return the path of a program. Without it the test is skipped, and fails under CI.

    ``package``: Debian's package that has it.
    """
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin:/usr/bin:/bin")
    if path is None:
        reason = f"{program} is missing: install Debian's package {package}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path
