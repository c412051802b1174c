"""Behind a real nginx, a reload loses no request: over the uwsgi protocol and over HTTP with kept connections.

nginx is told to ask nobody a second time: what is lost behind it is a 502 for the client.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests import load
from tests.command import COMMAND, program
from tests.load import Load
from tests.real.parts import require
from tests.real.test_nginx import CONFIG, free_port, started, wait_for_port

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

UPSTREAM = """
  upstream ours {{ server 127.0.0.1:{plain}; keepalive 8; }}
"""

SERVER = """
  server {{
    listen 127.0.0.1:{port};
    uwsgi_next_upstream off; proxy_next_upstream off; proxy_http_version 1.1; proxy_set_header Connection "";
    location / {{ {target}; }}
  }}
"""


@pytest.mark.parametrize("loop", [(), ("--trio",)], ids=["asyncio", "trio"])
def test_20_reloads_under_load_lose_no_request(tmp_path: Path, loop: tuple[str, ...]) -> None:
    nginx = require("nginx", "nginx-light")
    (tmp_path / "app.py").write_text(load.APP)
    plain = free_port()
    targets = (f"uwsgi_pass unix:{tmp_path}/app.sock", "proxy_pass http://ours")
    ports = [free_port() for _ in targets]
    servers = UPSTREAM.format(plain=plain)
    servers += "".join(SERVER.format(port=port, target=target) for port, target in zip(ports, targets, strict=True))
    (tmp_path / "nginx.conf").write_text(CONFIG.format(tmp=tmp_path, servers=servers))
    ours = ("--http-socket", f"127.0.0.1:{plain}", "--socket", "app.sock", "--chmod-socket", "666", "--disable-logging")
    front = [nginx, "-c", str(tmp_path / "nginx.conf"), "-e", str(tmp_path / "error.log"), "-p", str(tmp_path)]
    with program(*COMMAND, "--master", "--processes", "2", *ours, *loop, "app.py", cwd=tmp_path) as process:
        process.wait_for("serves http")
        with started(front, tmp_path / "nginx.log"):
            for port in ports:
                wait_for_port(port, tmp_path / "nginx.log")
            with Load(ports, of_each=1) as clients:
                for number in range(1, 21):
                    process.popen.send_signal(signal.SIGHUP)
                    process.wait_until(lambda number=number: process.output.count("reloaded in") >= number)
                    clients.wait_for(1, process.wait_until)
        assert clients.failures == [], (tmp_path / "error.log").read_text()[-2000:]
