"""An instance as an Erlang node: uWSGI's functions in its apps, and who of its processes has the name."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio
import anyio.to_thread
import pytest

import uwsgi_async
from tests.command import ROOT, Process, program, run, server
from tests.instance.harness import await_reload, hang_up
from tests.real.erl import COOKIE, Erl, epmd, erl
from tests.real.test_nginx import free_port
from uwsgi_async.errors import NodeDownError

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

OURS = "web@127.0.0.1"
OPTIONS = ("--erlang", OURS, "--erlang-cookie", COOKIE)

APP = """
import json, os, uwsgi
from urllib.parse import unquote
from uwsgidecorators import erlang, rpc

kept = uwsgi.erlang_connect("shop@127.0.0.1")  # at import: it stands for the node in every process

@erlang("noted")
def note(message):
    if message[0] == "add":
        total = uwsgi.erlang_rpc(kept, "erlang", "+", list(message[2]))
        uwsgi.erlang_send_message(kept, message[1], ("total", total, os.getpid()))
    else:
        print("noted:", message, flush=True)

@rpc("whoami")
def whoami(*words):
    return (os.getpid(), *words)

def application(environ, start_response):
    start_response("200 OK", [])
    name, words = json.loads(unquote(environ["QUERY_STRING"]))
    if name == "pid":
        answer = os.getpid()
    elif name == "node":
        answer = uwsgi.erlang_node
    elif name == "echo":
        answer = uwsgi.erlang_sr(kept, "echo", ("useless", uwsgi.erlang_node.decode(), *words))
    elif name == "handles":
        mine = uwsgi.erlang_connect(*words)
        same = uwsgi.erlang_send_message(mine, "nobody", "hello") == mine
        sent = [uwsgi.erlang_send_message(words[0], "nobody", "hello") for _ in range(2)]
        uwsgi.erlang_close(mine)
        uwsgi.erlang_close(mine)
        answer = (same, sent[0] == sent[1] != mine, uwsgi.erlang_rpc(sent[0], "erlang", "abs", [-1]))
        try:
            uwsgi.erlang_recv_message(mine)
        except ValueError as error:
            answer += (str(error),)
    elif name == "kept":
        answer = uwsgi.erlang_rpc(kept, *words)
    else:
        try:
            answer = getattr(uwsgi, name)(*words)
        except ValueError as error:
            answer = "ValueError: " + str(error)
    return [repr(answer).encode()]
"""


@pytest.fixture(scope="module", autouse=True)
def _epmd() -> Iterator[None]:
    with epmd():
        yield


@pytest.fixture(scope="module")
def shop(_epmd: None) -> Iterator[Erl]:
    with erl("shop") as node:
        node.eval("register(echo, spawn(fun F() -> receive {Name, Node, M} -> {Name, Node} ! {echo, M}, F() end end))")
        yield node


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


def call(process: Process, name: str, *words: Any) -> str:
    return process.get("/?" + quote(json.dumps([name, words]))).decode()


def answers(node: Erl, expressions: str, pattern: str) -> str:
    """Evaluate again and again until the value is as expected: the name may be on its way to another process."""
    for _ in range(500):
        answer = node.eval(f"timer:sleep(20), {expressions}")
        if re.fullmatch(pattern, answer):
            return answer
    raise AssertionError(f"{expressions} gives {answer}, not {pattern}")


@pytest.mark.parametrize(
    "how",
    [(), ("--master", "-p", "2"), ("--threads", "2"), ("--trio",), ("--uvloop", "--master")],
    ids=["alone", "master", "threads", "trio", "uvloop"],
)
def test_an_app_calls_erlang_and_erlang_calls_the_app(place: Path, shop: Erl, how: tuple[str, ...]) -> None:
    with server(*OPTIONS, *how, "app.py", cwd=place) as process:
        process.wait_for("Erlang node web@127.0.0.1 registered")
        assert call(process, "node") == repr(OURS.encode())
        assert call(process, "erlang_rpc", shop.name, "lists", "sum", [[1, 2, 3]]) == "6"
        assert call(process, "kept", "erlang", "node", []) == repr(shop.name)
        pid, word = eval(shop.eval(f"rpc:call('{OURS}', any, whoami, [7])").replace("{", "(").replace("}", ")"))
        assert pid in process.family()
        assert word == 7
        shop.eval(f"{{noted, '{OURS}'}} ! {{hello, <<\"x\">>}}")
        process.wait_for(r"noted: \('hello', b'x'\)")
        total = shop.eval(f"{{noted, '{OURS}'}} ! {{add, self(), {{20, 22}}}}, receive {{total, T, _}} -> T end")
        assert total == "42"
        process.popen.send_signal(signal.SIGINT if "--master" in how else signal.SIGTERM)
        assert process.end() == 0
        assert "Traceback" not in process.output


def test_each_connect_has_a_number_of_its_own_and_a_closed_one_is_told(place: Path, shop: Erl) -> None:
    with server(*OPTIONS, "app.py", cwd=place) as process:
        same, as_sender, one, reason = eval(call(process, "handles", shop.name))
        assert (same, as_sender, one) == (True, True, 1)
        assert "was closed" in reason


def test_the_answer_of_uwsgis_echo_comes_to_who_receives(place: Path, shop: Erl) -> None:
    """Erlang code as on uWSGI's page: its answer goes to some name of the node, which is blissfully ignored."""
    with server(*OPTIONS, "app.py", cwd=place) as process:
        process.wait_for("Erlang node web@127.0.0.1 registered")
        assert call(process, "echo", "hello") == "('echo', 'hello')"


def test_another_worker_takes_the_name_when_its_owner_is_killed(place: Path, shop: Erl) -> None:
    with server(*OPTIONS, "--master", "-p", "2", "app.py", cwd=place) as process:
        process.wait_for("Erlang node web@127.0.0.1 registered")
        owner = re.search(r"{(\d+)}", shop.eval(f"rpc:call('{OURS}', any, whoami, [])"))
        assert owner is not None
        os.kill(int(owner[1]), signal.SIGKILL)
        other = answers(shop, f"rpc:call('{OURS}', any, whoami, [])", r"{\d+}")
        assert other != owner[0]


def test_a_reload_hands_the_name_to_the_new_generation(place: Path, shop: Erl) -> None:
    with server(*OPTIONS, "--master", "-p", "2", "app.py", cwd=place) as process:
        process.wait_for("Erlang node web@127.0.0.1 registered")
        before = shop.eval(f"rpc:call('{OURS}', any, whoami, [])")
        hang_up(process)
        await_reload(process)
        after = answers(shop, f"rpc:call('{OURS}', any, whoami, [])", rf"(?!{re.escape(before)}){{\d+}}")
        assert after != before
        assert call(process, "erlang_rpc", shop.name, "erlang", "abs", [-3]) == "3"


def test_a_node_that_is_down_is_a_value_error_and_works_when_it_is_up(place: Path) -> None:
    with server(*OPTIONS, "app.py", cwd=place) as process:
        process.wait_for("Erlang node web@127.0.0.1 registered")
        assert "ValueError: late@127.0.0.1: no node of that name" in call(process, "erlang_connect", "late@127.0.0.1")
        with erl("late") as late:
            assert call(process, "erlang_rpc", late.name, "erlang", "abs", [-3]) == "3"
        with erl("late") as late:
            answered = call(process, "erlang_rpc", late.name, "erlang", "abs", [-4])
            assert answered == "4" or "has ended" in answered
            assert call(process, "erlang_rpc", late.name, "erlang", "abs", [-5]) == "5"


def test_mules_and_spoolers_call_erlang_too(place: Path, shop: Erl) -> None:
    (place / "app.py").write_text(
        """
import uwsgi
from uwsgidecorators import spool
def call(message):
    print("answer:", message, uwsgi.erlang_rpc("shop@127.0.0.1", "erlang", "abs", [-3]), flush=True)
uwsgi.mule_msg_hook = call
@spool
def task(arguments):
    call("task")
    return uwsgi.SPOOL_OK
def application(environ, start_response):
    start_response("200 OK", [])
    uwsgi.mule_msg("message")
    task(x="y")
    return [b"sent"]
"""
    )
    words = ("--mules", "1", "--spooler", str(place / "spool"))
    for how in ((), ("--master",)):
        with server(*OPTIONS, *words, *how, "app.py", cwd=place) as process:
            process.get()
            process.wait_for("answer: b'message' 3")
            process.wait_for("answer: task 3")


@pytest.mark.parametrize(
    "how", [(), ("--master",), ("--master", "--lazy-apps", "--trio")], ids=["alone", "master", "lazy"]
)
def test_an_app_calls_erlang_while_it_is_imported(place: Path, shop: Erl, how: tuple[str, ...]) -> None:
    (place / "app.py").write_text(
        """
import uwsgi
total = uwsgi.erlang_rpc("shop@127.0.0.1", "lists", "sum", [[1, 2, 3]])
uwsgi.erlang_send_message("shop@127.0.0.1", "nobody", "imported")
def application(environ, start_response):
    start_response("200 OK", [])
    return [b"%d %d" % (total, uwsgi.erlang_rpc("shop@127.0.0.1", "erlang", "abs", [-7]))]
"""
    )
    with server(*OPTIONS, *how, "app.py", cwd=place) as process:
        assert process.get() == b"6 7"
        process.popen.send_signal(signal.SIGINT)
        assert process.end() == 0
        assert "Traceback" not in process.output


def test_a_name_that_another_node_has_is_told_and_the_instance_serves(place: Path, shop: Erl) -> None:
    with server("--erlang", shop.name, "--erlang-cookie", COOKIE, "app.py", cwd=place) as process:
        process.wait_for("Erlang node shop@127.0.0.1: the name is taken")
        assert call(process, "pid")


def test_the_node_registers_when_epmd_comes_and_again_when_it_has_died(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setenv("ERL_EPMD_PORT", str(port))
    with server(*OPTIONS, "app.py", cwd=place) as process:
        process.wait_for(rf"no epmd answers at localhost:{port}: start one with 'epmd -daemon'")
        with epmd(port):
            process.wait_for("registered on port")
        with epmd(port):
            process.wait_until(lambda: process.output.count("registered on port") == 2)
            with erl("late") as late:
                assert late.eval(f"net_adm:ping('{OURS}')") == "pong"


def test_a_home_without_a_cookie_is_told_at_the_start(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(place))
    status, output = run("--http-socket", "127.0.0.1:0", "--erlang", OURS, "app.py", cwd=place)
    assert status == 2
    assert "give the other nodes' by erlang-cookie, or in" in output


def test_the_cookie_of_the_users_file_is_taken_when_it_is_the_users_alone(
    place: Path, shop: Erl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(place))
    cookie = place / ".erlang.cookie"
    cookie.write_text(COOKIE + "\n")
    cookie.chmod(0o644)
    words = ("--http-socket", "127.0.0.1:0", "--erlang", OURS, "app.py")
    assert "must be accessible by its owner only" in run(*words, cwd=place)[1]
    cookie.chmod(0o400)
    with server("--erlang", OURS, "app.py", cwd=place) as process:
        assert call(process, "erlang_rpc", shop.name, "erlang", "abs", [-3]) == "3"


@pytest.mark.anyio
async def test_a_program_without_an_instance_calls_and_sends(
    shop: Erl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".erlang.cookie").write_text(COOKIE)
    (tmp_path / ".erlang.cookie").chmod(0o400)
    assert await uwsgi_async.erlang_rpc(shop.name, "erlang", "abs", [-3]) == 3
    await anyio.to_thread.run_sync(shop.eval, "register(me, self())")
    await uwsgi_async.erlang_send_message(shop.name, "me", ("hello", b"x"))
    got = await anyio.to_thread.run_sync(shop.eval, "unregister(me), receive {hello, X} -> X end")
    assert got == '<<"x">>'
    with pytest.raises(NodeDownError, match="no node of that name"):
        await uwsgi_async.erlang_rpc("nobody@127.0.0.1", "erlang", "abs", [-3])


def test_the_session_of_the_page_says_what_the_page_says(tmp_path: Path) -> None:
    page = (ROOT / "docs/erlang.md").read_text()
    app, _program = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "app.py").write_text(app)
    _install, session = re.findall(r"```console\n(.*?)```", page, re.DOTALL)
    lines = session.replace("\\\n", "").splitlines()
    said = [line for line in lines if not line.startswith("$ ")]
    script = "\n".join(line.removeprefix("$ ") for line in lines if line.startswith("$ "))
    port = str(free_port())
    ask = "from urllib.request import urlopen; "
    ask += f"print(urlopen('http://127.0.0.1:{port}/').read().decode(), end='')"
    for written, here in (
        ("epmd -daemon", ""),
        ("curl -sf http://127.0.0.1:8000/", f'{sys.executable} -c "{ask}" 2> errors'),
        ("8000", port),
        ("uwsgi-async", f"{sys.executable} -m uwsgi_async"),
        (" &\n", " > log 2>&1 &\n"),
    ):
        assert written in script
        script = script.replace(written, here)
    with epmd(), program("bash", "-c", script, cwd=tmp_path) as process:
        process.popen.wait(100)  # two Erlangs and a server are started; all that is slow on a busy machine
        process.end()
        assert process.output.splitlines() == said


def test_the_program_of_the_page_calls_erlang(shop: Erl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _app, code = re.findall(r"```python\n(.*?)```", (ROOT / "docs/erlang.md").read_text(), re.DOTALL)
    (tmp_path / "program.py").write_text(code)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".erlang.cookie").write_text(COOKIE)
    (tmp_path / ".erlang.cookie").chmod(0o400)
    with program(sys.executable, "program.py", cwd=tmp_path) as process:
        assert (process.end(), process.output) == (0, f"{shop.name}\n")


@pytest.mark.parametrize("loop", ["--trio", "--uvloop"])
def test_the_example_answers(shop: Erl, loop: str) -> None:
    with server(*OPTIONS, loop, str(ROOT / "examples/erlang_node/app.py")) as process:
        process.wait_for("registered on port")
        assert process.get("/").startswith(b"shop@127.0.0.1 runs Erlang/OTP ")
        assert shop.eval(f"rpc:call('{OURS}', any, shout, [<<\"text\">>])") == '<<"TEXT!">>'
        answer = shop.eval(
            f"{{counter, '{OURS}'}} ! {{self(), 2}}, {{counter, '{OURS}'}} ! {{self(), 3}}, "
            "receive {count, 5} -> counted end"
        )
        assert answer == "counted"
