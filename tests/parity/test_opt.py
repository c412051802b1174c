"""What an app is told of the configuration is the same: ``uwsgi.opt`` with its placeholders, ``uwsgi.magic_table``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.parity.harness import start

APP = """
import json, uwsgi

def text(value):
    return value if value is True else value.decode("utf-8", "surrogateescape")

def application(environ, start_response):
    start_response("200 OK", [])
    told = {"opt": uwsgi.opt, "magic": uwsgi.magic_table}
    shown = {name: {repr(key): text(value) for key, value in each.items()} for name, each in told.items()}
    return [json.dumps(shown).encode()]
"""
INI = """\
[uwsgi]
project = b\xfccher
set-ph = region=eu
wsgi-file = app.py
chdir = %d
if-env = NO_SUCH_VARIABLE
never = 1
endif =
include = part.ini
env = A=%(project)
env = B=2
bare
master = {master}
latin = \udce9
"""


@pytest.mark.parametrize("master", ["false", "true"])
def test_an_app_is_told_the_same(tmp_path: Path, master: str) -> None:
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "part.ini").write_text("[uwsgi]\npart = %n of %N\n")
    (tmp_path / "app.ini").write_bytes(INI.format(master=master).encode("utf-8", "surrogateescape"))
    told = {}
    for server in ("ours", "oracle"):
        with start(server, tmp_path, "--ini", "app.ini:uwsgi", "--ignore-sigpipe", cwd=tmp_path) as running:
            told[server] = json.loads(running.request("GET", "/").body)
    told["oracle"]["opt"].pop("'home'", None)  # the harness gives it
    for letter in "tTb":  # the time, and the program
        for each in told.values():
            assert each["magic"].pop(f"b'{letter}'")
    assert told["ours"]["opt"] == told["oracle"]["opt"]
    assert told["ours"]["magic"] == told["oracle"]["magic"]
