"""Log formats: what each variable is, and that one request is one line whatever a client sends."""

from __future__ import annotations

import json
import logging
import time
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import uwsgi_async
from tests.client import get
from tests.command import server
from uwsgi_async.instance.logformat import VARIABLES, compile_format, fields
from uwsgi_async.instance.logrecord import RequestRecord, default_line, one_line, raw_of, text_of
from uwsgi_async.options.settings import LogOptions

RECORD = RequestRecord(
    12, 0, 3, 4, "127.0.0.1", "", 32, 401, 1_763_937_730.75,
    "GET", "/a?b=c", 1024, 0.0129994, "HTTP/1.1", 200, 2, 77, 5, 9,
)  # fmt: skip


def request_of(vars: dict[str, str], logvars: dict[bytes, bytes] | None = None) -> Any:
    return SimpleNamespace(
        vars=vars,
        logvars=logvars,
        response=SimpleNamespace(write_error=False),
        body=SimpleNamespace(read_error=True),
    )


def line(format: str, request: Any = None, **options: Any) -> str:
    return compile_format(LogOptions(log_format=format, **options))(RECORD, request or request_of({}))


@pytest.mark.parametrize(
    ("format", "expected"),
    [
        ("", ""),
        ("plain 100% (text)", "plain 100% (text)"),
        ("%(method) %(uri) %(proto)", "GET /a?b=c HTTP/1.1"),
        ("%(status)%(size)", "2001101"),
        ("%(rsize) %(hsize) %(headers)", "1024 77 2"),
        ("%(micros) %(msecs) %(secs)", "12999 12 0.012999"),
        ("%(time) %(tmsecs) %(tmicros)", "1763937730 1763937730750 1763937730750000"),
        ("%(pid) %(wid) %(core) %(switches)", "12 1 9 5"),
        ("%(vars) %(pktsize) %(modifier1) %(modifier2)", "32 401 0 0"),
        ("%(user) %(nothing) %(var.NOTHING) %(cl)", "- - - 0"),
        ("%(werr) %(rerr) %(ioerr)", "0 1 1"),
        ("%(", "%("),
        ("%()", "%()"),
        ("%(%(uri)", "%(/a?b=c"),
        ("%(a(b) %%(uri) 100%", "- %/a?b=c 100%"),
    ],
)
def test_variables_are_replaced(format: str, expected: str) -> None:
    assert line(format) == expected


def test_vars_and_logvars_are_variables() -> None:
    request = request_of({"HTTP_HOST": "h", "HTTP_REFERER": "r", "HTTP_USER_AGENT": "u", "X": "x"}, {b"note": b"n"})
    assert line("%(host) %(referer) %(uagent) %(var.X) %(note)", request) == "h r u x n"


def test_times_are_local_and_formatted() -> None:
    local = time.localtime(RECORD.began)
    assert line("%(ltime)") == time.strftime("%d/%b/%Y:%H:%M:%S %z", local)
    assert line("%(ctime)") == time.ctime(int(RECORD.began))
    assert line("%(ftime)", log_date="%Y", log_format_strftime=True) == time.strftime("%Y", local)
    assert line("%(ftime)", log_date="%Y") == line("%(ltime)")


QUOTED = '"%(uagent)" "%(note)" %(uagent) "x %(uagent)"'


def test_a_value_in_quotes_cannot_end_them() -> None:
    request = request_of({"HTTP_USER_AGENT": 'a" 200 "\\'}, {b"note": b'"'})
    assert line(QUOTED, request) == '"a\\x22 200 \\x22\\x5c" "\\x22" a" 200 "\\ "x a" 200 "\\"'


@given(st.binary(max_size=30))
def test_a_format_that_is_an_object_gives_json_whatever_a_client_sends(value: bytes) -> None:
    request = request_of({"HTTP_USER_AGENT": value.decode("latin-1")}, {b"note": value})
    format = '{"agent": "%(uagent)", "status": %(status), "n\xf6te": "%(note)"}'
    text = value.decode("utf-8", "backslashreplace") or "-"
    told = one_line(line(format, request))
    assert json.loads(told) == {"agent": text, "status": 200, "n\xf6te": text}
    assert len(told.splitlines()) == 1


def test_text_is_utf8_whether_it_comes_from_a_client_the_app_or_the_format() -> None:
    request = request_of({"HTTP_USER_AGENT": raw_of("\xe9\u65e5")}, {b"note": "\u20ac".encode()})
    assert one_line(line("\xe4 %(uagent) %(note) %(uri)", request)) == "\xe4 \xe9\u65e5 \u20ac /a?b=c"
    assert fields(RECORD, request)["uagent"] == "\xe9\u65e5"


TEXT = st.text(st.characters(max_codepoint=0xFF), max_size=20)


@given(TEXT, TEXT, st.binary(max_size=20))
def test_one_request_is_one_line_whatever_a_client_sends(uri: str, agent: str, note: bytes) -> None:
    request = request_of({"HTTP_USER_AGENT": agent, "REQUEST_URI": uri}, {b"note": note})
    record = RequestRecord(1, 0, 1, 1, agent, uri, 1, 1, 0.0, uri, uri, 1, 0.1, agent, 200, 1, 1, 1, 1)
    every = " ".join(f"%({name})" for name in VARIABLES)
    texts = [compile_format(LogOptions(log_format=f"{every} %(note)"))(record, request), default_line(record)]
    for text in map(one_line, texts):
        assert text.splitlines() == [text]
        assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in text)
    dumped = json.dumps(fields(record, request))
    assert (json.loads(dumped)["uri"], json.loads(dumped)["uagent"]) == (text_of(uri), text_of(agent))
    assert dumped.isascii()
    assert dumped.isprintable()


APP = """
import logging, uwsgi
print("printed by the app")
logging.getLogger("shop").warning("logged by the app")

def application(environ, start_response):
    environ["wsgi.errors"].write("said to wsgi.errors\\n")
    path = environ["PATH_INFO"]
    if path == "/slow":
        uwsgi.async_sleep(0.05)
    status = {"/404": "404 Not Found", "/500": "500 Error"}.get(path, "200 OK")
    start_response(status, [])
    if path == "/this":
        uwsgi.log_this_request()
    uwsgi.set_logvar("note", path)
    return [b"" if path == "/empty" else b"x" * 100]
"""


@pytest.fixture
def place(tmp_path: Any) -> Any:
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


def test_a_format_is_used_by_the_command(place: Any) -> None:
    with server("app.py", "--log-format", "%(method) %(uri) by %(uagent): %(note)", cwd=place) as process:
        process.get("/x")
        process.wait_for(r"(?m)^GET /x by Python-urllib/[\d.]+: /x$")


@pytest.mark.parametrize(
    ("option", "path"),
    [
        ("--log-slow=20", "/slow"),
        ("--log-4xx", "/404"),
        ("--log-5xx", "/500"),
        ("--log-zero", "/empty"),
        ("-L", "/this"),
    ],
)
def test_remarkable_requests_are_logged_in_any_case(place: Any, option: str, path: str) -> None:
    with server("app.py", "--disable-logging", option, "--log-format", "line of %(uri)", cwd=place) as process:
        for each in ("/", path, "/"):
            try:
                process.get(each)
            except OSError:
                assert path in ("/404", "/500")
        process.wait_for(f"line of {path}")
        assert process.output.count("line of") == 1


def test_the_address_can_be_the_one_that_was_forwarded(place: Any) -> None:
    with server("app.py", "--log-x-forwarded-for", "--log-format", "from %(addr)", cwd=place) as process:
        from urllib.request import Request, urlopen

        urlopen(Request(process.url, headers={"X-Forwarded-For": "9.9.9.9, 8.8.8.8"}), timeout=20).close()
        process.wait_for(r"from 9\.9\.9\.9, 8\.8\.8\.8\n")


def test_json_is_one_object_a_line_for_requests_and_messages(place: Any) -> None:
    with server("app.py", "--log-json", cwd=place) as process:
        process.get("/x?y=%22")
        process.wait_for(r'"uri": "/x')
        objects = [json.loads(line) for line in process.output.splitlines() if line.startswith("{")]
    assert [found["message"] for found in objects if "message" in found][-1].startswith(
        "*** uwsgi-async serves http://"
    )
    (request,) = [found for found in objects if "uri" in found]
    assert (request["uri"], request["status"], request["rsize"], request["note"]) == ("/x?y=%22", 200, 100, "/x")


def test_what_the_app_says_goes_where_it_would_without_a_server(place: Any) -> None:
    with server("app.py", cwd=place) as process:
        process.get()
        for words in ("printed by the app", "logged by the app", "said to wsgi.errors"):
            process.wait_for(words)


def test_messages_have_a_date_on_request(place: Any) -> None:
    with server("app.py", "--log-date=%Y-%m-%d", cwd=place) as process:
        process.wait_for(r"\d{4}-\d\d-\d\d - \*\*\* uwsgi-async serves")


@pytest.mark.anyio
async def test_inside_a_program_lines_go_to_the_logging_module(caplog: pytest.LogCaptureFixture) -> None:
    async def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b""]

    with caplog.at_level(logging.INFO, "uwsgi_async"):
        async with uwsgi_async.run(app, http="127.0.0.1:0", log_format="here is %(uri)") as running:
            await get(running, "/x")
    assert "here is /x" in [record.getMessage() for record in caplog.records if record.name == "uwsgi_async.request"]
