"""Where most instances of these tests run: a directory with the app of `harness`. Files with another have theirs."""

from pathlib import Path

import pytest

from tests.instance.harness import APP


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    return tmp_path
