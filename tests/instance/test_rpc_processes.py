"""Functions under a master: which process has which, and that reloads and lazy apps change nothing about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command import Process, server
from tests.instance.harness import await_reload, hang_up

APP = """
import os, uwsgi

VERSION = 1

def pid():
    return str(os.getpid()).encode()

uwsgi.register_rpc("pid", pid)
uwsgi.register_rpc("version", lambda: str(VERSION).encode())

print("at import:", uwsgi.call(b"version"), uwsgi.rpc("/nowhere.sock", b"version"), flush=True)

def hook(message):
    try:
        uwsgi.register_rpc("late", pid)
    except ValueError as error:
        print("refused:", error, flush=True)
    print("in the mule:", uwsgi.rpc_list(), uwsgi.call(b"version"), uwsgi.rpc(NODE, b"version"), flush=True)

uwsgi.mule_msg_hook = hook

def application(environ, start_response):
    start_response("200 OK", [])
    if environ["PATH_INFO"] == "/mule":
        uwsgi.mule_msg(b"x")
        return [b""]
    return [b" ".join([uwsgi.rpc(NODE, name) or b"none" for name in (b"pid", b"version")])]
"""


def ask(process: Process) -> list[bytes]:
    return process.get().split()


@pytest.mark.parametrize("lazy", [(), ("--lazy-apps",)], ids=["forked", "lazy"])
def test_all_workers_and_mules_have_what_was_registered_at_import(tmp_path: Path, lazy: tuple[str, ...]) -> None:
    node = f"{tmp_path}/rpc.sock"
    (tmp_path / "app.py").write_text(f"NODE = {node!r}\n" + APP)
    words = ("--master", "--processes", "2", "--mule", "--socket", node, *lazy)
    with server(*words, "app.py", cwd=tmp_path) as process:
        pid, version = ask(process)
        assert int(pid) in process.family()
        assert version == b"1"
        process.wait_for("at import: b'1' None")
        process.get("/mule")
        process.wait_for("refused: unable to register rpc function: mule 1 serves no calls")
        process.wait_for(r"in the mule: \(b'pid', b'version'\) b'1' b'1'")
        (tmp_path / "app.py").write_text(f"NODE = {node!r}\n" + APP.replace("VERSION = 1", "VERSION = 20"))
        hang_up(process)
        await_reload(process)
        process.wait_until(lambda: ask(process)[1] == b"20")
        assert "Traceback" not in process.output
