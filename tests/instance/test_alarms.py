"""Alarms: what each kind does, what is dropped, and what an operator is told about one that cannot be."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

import uwsgi_async
from tests.command import run as run_command
from tests.command import server
from uwsgi_async.api.alarms import Alarms
from uwsgi_async.errors import OptionError
from uwsgi_async.options.alarms import AlarmOptions, split_alarm
from uwsgi_async.options.build import build


async def app(environ: Any, start_response: Any) -> list[bytes]:
    return []


def await_commands() -> None:
    for thread in threading.enumerate():
        if thread.name == "uwsgi-alarm":
            thread.join(20)


@pytest.mark.anyio
async def test_an_alarm_is_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async with uwsgi_async.run(app, http="127.0.0.1:0", alarm=["plain log:", "prefixed log:at night"]):
        import uwsgi

        uwsgi.alarm("plain", b"the disk \xff is full\n")
        uwsgi_async.alarm("prefixed", "too \xe4")
    assert [record.getMessage() for record in caplog.records if "ALARM" in record.getMessage()] == [
        "ALARM: the disk \\xff is full",
        "ALARM: at night too \xe4",
    ]


@pytest.mark.anyio
async def test_an_alarm_runs_a_command_that_reads_the_message(tmp_path: Path) -> None:
    async with uwsgi_async.run(app, http="127.0.0.1:0", alarm=f"keep cmd:cat >> {tmp_path}/told"):
        uwsgi_async.alarm("keep", "first\n")
        await anyio.to_thread.run_sync(await_commands)
        uwsgi_async.alarm("keep", b"x" * 8192)
        await anyio.to_thread.run_sync(await_commands)
    assert (tmp_path / "told").read_bytes() == b"first\n" + b"x" * 8192


@pytest.mark.anyio
async def test_a_command_that_fails_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async with uwsgi_async.run(app, http="127.0.0.1:0", alarm="fails cmd:exit 3"):
        uwsgi_async.alarm("fails", "x")
        await anyio.to_thread.run_sync(await_commands)
    assert "[uwsgi-alarm] the command ended with 3: exit 3" in caplog.text


@pytest.mark.anyio
async def test_commands_that_hang_do_not_add_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    released = tmp_path / "released"
    async with uwsgi_async.run(
        app, http="127.0.0.1:0", alarm=f"hang cmd:while [ ! -e {released} ]; do sleep 0.01; done"
    ):
        for number in range(16):
            uwsgi_async.alarm("hang", str(number))
        assert "commands run already" not in caplog.text
        uwsgi_async.alarm("hang", "17")
        assert "16 commands run already" in caplog.text
        released.touch()
        await anyio.to_thread.run_sync(await_commands)


@pytest.mark.anyio
async def test_an_alarm_raises_a_signal() -> None:
    raised = anyio.Event()

    async def handle(number: int) -> None:
        raised.set()

    async with uwsgi_async.run(app, http="127.0.0.1:0", alarm="tidy signal:17"):
        uwsgi_async.register_signal(17, "", handle)
        uwsgi_async.alarm("tidy", "x")
        with anyio.fail_after(20):
            await raised.wait()


@pytest.mark.anyio
async def test_an_alarm_is_a_message_to_a_mule(caplog: pytest.LogCaptureFixture) -> None:
    got: list[bytes] = []
    come = anyio.Event()

    async def hook(message: bytes) -> None:
        got.append(message)
        come.set()

    async with uwsgi_async.run(app, http="127.0.0.1:0", alarm=["work mule:1", "any mule:", "none mule:7"], mules=1):
        import uwsgi

        uwsgi.mule_msg_hook = hook
        uwsgi_async.alarm("work", "to a mule")
        with anyio.fail_after(20):
            await come.wait()
        uwsgi_async.alarm("none", "x")
    assert got == [b"to a mule"]
    assert "[uwsgi-alarm] none: mule: invalid mule number 7" in caplog.text


def test_the_same_message_is_dropped_for_a_while(caplog: pytest.LogCaptureFixture) -> None:
    now = 100.0
    alarms = Alarms(AlarmOptions(alarm=("a log:", "b log:")), lambda: now)

    def told(name: str, message: bytes) -> bool:
        caplog.clear()
        alarms.raise_alarm(name, message)
        return bool(caplog.records)

    assert told("a", b"x")
    assert not told("a", b"x")
    assert told("b", b"x")
    assert told("a", b"y")
    assert told("a", b"x")
    now += 2.9
    assert not told("a", b"x")
    now += 0.2
    assert told("a", b"x")


def test_a_message_that_is_too_long_is_dropped_and_told(caplog: pytest.LogCaptureFixture) -> None:
    alarms = Alarms(AlarmOptions(alarm=("a log:",), alarm_msg_size=3))
    alarms.raise_alarm("a", b"four")
    assert "a message of 4 bytes is longer than 3 (option alarm-msg-size) and is dropped" in caplog.text
    assert "ALARM" not in caplog.text


@pytest.mark.anyio
async def test_an_alarm_that_is_not_there_is_nothing(caplog: pytest.LogCaptureFixture) -> None:
    uwsgi_async.alarm("none", "x")
    async with uwsgi_async.run(app, http="127.0.0.1:0"):
        uwsgi_async.alarm("none", "x")
        with pytest.raises(TypeError):
            uwsgi_async.alarm(b"none", "x")  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            uwsgi_async.alarm("none", 17)  # type: ignore[arg-type]
    assert not caplog.records


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a log:", ("a", "log", "")),
        ("a cmd:mail -s 'x: y'", ("a", "cmd", "mail -s 'x: y'")),
        ("a  signal:17", ("a", "signal", "17")),
        ("a mule:", ("a", "mule", "")),
    ],
)
def test_an_alarm_is_a_name_and_what_it_does(text: str, parts: tuple[str, str, str]) -> None:
    assert split_alarm(text) == parts


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a", "a name, a space"),
        ("a log", "a name, a space"),
        ("log:x", "a name, a space"),
        ("a curl:http://x", "curl is not built: let a command do it"),
        ("a xmpp:x", "xmpp is not built"),
        ("a other:x", "no alarm plugin 'other', only log, cmd, signal, mule"),
        ("a signal:256", "from 0 to 255"),
        ("a signal:", "from 0 to 255"),
        ("a mule:x", "a mule is a number"),
        ("a cmd: ", "needs a command"),
    ],
)
def test_an_alarm_that_cannot_be_says_why(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        split_alarm(text)
    with pytest.raises(OptionError, match="alarm"):
        build(alarm=text)


def test_under_a_master_alarms_act_in_the_workers(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "import uwsgi\n"
        "uwsgi.alarm('note', 'at import')\n"
        "def application(environ, start_response):\n"
        "    uwsgi.alarm('note', 'in a request')\n"
        "    start_response('200 OK', [])\n"
        "    return [b'x']\n"
    )
    with server("--master", "--alarm", "note log:seen", "app.py", cwd=tmp_path) as process:
        process.get()
        process.wait_for("ALARM: seen at import")
        process.wait_for("ALARM: seen in a request")


def test_an_unknown_plugin_stops_the_start(tmp_path: Path) -> None:
    status, output = run_command("--http-socket", "127.0.0.1:0", "--alarm", "a curl:http://x", "app.py", cwd=tmp_path)
    assert status == 2
    assert "alarm" in output
