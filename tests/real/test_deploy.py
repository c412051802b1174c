"""The files of ``examples/deploy/`` do what they say: as systemd, as a container, and behind nginx."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.command import COMMAND, ROOT, program
from tests.instance.test_systemd import Manager
from tests.real.parts import require
from tests.real.test_nginx import free_port, started, wait_for_port

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

DEPLOY = ROOT / "examples" / "deploy"

NGINX = """
daemon off; master_process off; pid {tmp}/nginx.pid; error_log {tmp}/error.log;
events {{ }}
http {{
  access_log off; client_body_temp_path {tmp}/body; proxy_temp_path {tmp}/proxy; uwsgi_temp_path {tmp}/uwsgi;
  fastcgi_temp_path {tmp}/fastcgi; scgi_temp_path {tmp}/scgi;
  include {tmp}/app.conf;
}}
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """What /srv/app is in these files."""
    for name in ("app.py", "app.ini"):
        shutil.copy(DEPLOY / name, tmp_path)
    return tmp_path


# --- systemd --------------------------------------------------------------------------------------------------


def unit(place: Path) -> configparser.SectionProxy:
    """The [Service] of the unit, with its paths in ``place``."""
    text = (DEPLOY / "app.service").read_text()
    text = text.replace("/srv/app/.venv/bin/uwsgi-async", f"{sys.executable} -m uwsgi_async")
    for path in ("/srv/app", "/run/app"):
        text = text.replace(path, str(place))
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return parser["Service"]


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    analyze = require("systemd-analyze", "systemd")
    version = int(subprocess.run([analyze, "--version"], capture_output=True, text=True).stdout.split()[1])
    text = (DEPLOY / "app.service").read_text().replace("/srv/app/.venv/bin/uwsgi-async", sys.executable)
    if version < 253:  # as the unit says
        text = text.replace("\nType=notify-reload", "\nType=notify\nExecReload=/bin/kill -HUP $MAINPID")
    (tmp_path / "app.service").write_text(text)
    command = [analyze, "verify", "--man=no", str(tmp_path / "app.service")]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60)
    said = [line for line in (found.stdout + found.stderr).splitlines() if "app.service" in line]
    assert (found.returncode, said) == (0, [])


def test_the_unit_is_served_reloaded_and_stopped(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = unit(place)
    assert service["Type"] == "notify-reload"
    monkeypatch.setenv("NOTIFY_SOCKET", str(place / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", f"{service['WatchdogSec']}000000")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(place / "notify"))
        sock.settimeout(20)
        manager = Manager(sock)
        with program(*shlex.split(service["ExecStart"]), cwd=Path("/")) as process:
            assert manager.told()["READY"] == "1"
            with nginx(place, {"/run/app": str(place)}) as ports:
                assert b"hello from process" in get(ports[0])
                process.popen.send_signal(signal.SIGHUP)
                assert manager.told()["RELOADING"] == "1"
                assert manager.told()["READY"] == "1"
                assert b"hello from process" in get(ports[0])
            process.popen.send_signal(signal.SIGTERM)
            assert manager.told()["STOPPING"] == "1"
            assert process.end() == 0


# --- a container ----------------------------------------------------------------------------------------------


def instruction(name: str) -> list[str]:
    """The words of an instruction of the Dockerfile in its JSON form."""
    found = re.search(rf"^{name} (\[.*\])$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert found is not None
    words: list[str] = json.loads(found[1])
    return words


def test_what_the_dockerfile_copies_and_installs_is_there() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    for sources in re.findall(r"^COPY (.*) \S+$", text, re.MULTILINE):
        assert all((ROOT / source).exists() for source in sources.split())
    (extra,) = re.findall(r"uwsgi-async\[(\w+)\]", text)
    assert f"\n{extra} = [" in (ROOT / "pyproject.toml").read_text()


def test_the_command_of_the_dockerfile_is_process_1(place: Path) -> None:
    unshare = ["unshare", "--pid", "--fork", "--mount-proc"]
    if not shutil.which("unshare") or subprocess.run([*unshare, "true"], capture_output=True).returncode:
        pytest.skip("needs unshare (util-linux) and the right to make a PID namespace")
    http, probe = str(free_port()), str(free_port())
    words = [word.replace(":8000", f"127.0.0.1:{http}").replace("9090", probe) for word in instruction("CMD")]
    health = [word.replace("9090", probe) for word in instruction("HEALTHCHECK CMD")]
    assert (words[0], health[0]) == ("uwsgi-async", "python")
    with program(*unshare, *COMMAND, *words[1:], cwd=place) as process, nginx(place, {"8000": http}) as ports:
        process.wait_for("serves http")
        assert b"hello from process" in get(ports[1])
        assert subprocess.run([sys.executable, *health[1:]], timeout=20).returncode == 0
        one = int(Path(f"/proc/{process.popen.pid}/task/{process.popen.pid}/children").read_text())
        os.kill(one, signal.SIGHUP)
        process.wait_for("reloaded in")
        assert b"hello from process" in get(ports[1])
        os.kill(one, signal.SIGTERM)
        assert process.end() == 0


# --- nginx ----------------------------------------------------------------------------------------------------


@contextmanager
def nginx(place: Path, replaced: dict[str, str]) -> Iterator[list[int]]:
    """Run nginx with the file of the examples; give the ports of its servers, in their order."""
    path = require("nginx", "nginx-light")
    text = (DEPLOY / "nginx.conf").read_text()
    for old, new in replaced.items():
        text = text.replace(old, new)
    ports = [free_port() for _ in range(text.count("listen 80;"))]
    for port in ports:
        text = text.replace("listen 80;", f"listen 127.0.0.1:{port};", 1)
    (place / "app.conf").write_text(text.replace("include uwsgi_params;", "include /etc/nginx/uwsgi_params;"))
    (place / "nginx.conf").write_text(NGINX.format(tmp=place))
    command = [path, "-c", str(place / "nginx.conf"), "-e", str(place / "error.log"), "-p", str(place)]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, timeout=20)
    assert checked.returncode == 0, checked.stderr
    with started(command, place / "nginx.log"):
        for port in ports:
            wait_for_port(port, place / "nginx.log")
        yield ports


def get(port: int) -> bytes:
    with urlopen(f"http://127.0.0.1:{port}/", timeout=20) as answer:
        body: bytes = answer.read()
    return body
