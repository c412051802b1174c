"""Which loggers a line goes to, what becomes of it on the way, and which options are refused."""

from __future__ import annotations

import gzip
import json
import re
import time
import zlib
from pathlib import Path

import pytest

from uwsgi_async.errors import OptionError
from uwsgi_async.instance.logs.chain import Chain, Rules
from uwsgi_async.instance.logs.encoders import read_encoder
from uwsgi_async.instance.logs.process import ProcessLogs
from uwsgi_async.instance.logs.specs import Spec, read_logger, read_patterns, read_routes
from uwsgi_async.options.build import build


class Memory:
    """A logger that keeps its lines."""

    lost = 0

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def write(self, line: bytes, /) -> None:
        self.lines.append(line)

    def close(self) -> None:
        pass


def encode(text: str, line: bytes = b'say "hi"\n') -> bytes:
    return read_encoder(text, "log-encoder").encode(line)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("prefix a b", b'a bsay "hi"\n'),
        ("suffix  end", b'say "hi"\n end'),
        ("nl", b'say "hi"\n\n'),
        ("format [${msg}]", b'[say "hi"]'),
        ("format ${msgnl}", b'say "hi"\n'),
        ("format a ${unknown}$b", b"a $b"),
        ('json {"m": "${msg}"}', b'{"m": "say \\"hi\\""}'),
        ("json ${msgnl}", b'say \\"hi\\"\\n'),
    ],
)
def test_an_encoder_changes_the_line(text: str, result: bytes) -> None:
    assert encode(text) == result


def test_json_stays_json_whatever_the_line_is() -> None:
    line = bytes(range(256)) + "ä€\n".encode()
    assert "ä€" in json.loads(encode('json {"m": "${msg}"}', line))["m"]


def test_format_keeps_bytes_that_are_no_text() -> None:
    assert encode("format ${msg}", b"\xff\xfe\n") == b"\xff\xfe"


@pytest.mark.parametrize(("name", "factor"), [("unix", 1), ("millis", 1000), ("micros", 1_000_000)])
def test_the_clock_is_told_in_each_unit(name: str, factor: int) -> None:
    before = time.time()
    assert int(before * factor) <= int(encode(f"format ${{{name}}}")) <= int(time.time() * factor)


def test_the_time_has_the_format_that_was_asked_for() -> None:
    assert re.fullmatch(rb"\d{4}-\d\d", encode("format ${strftime:%Y-%m}"))


def test_compressed_lines_can_be_read_again() -> None:
    assert gzip.decompress(encode("gzip")) == b'say "hi"\n'
    assert zlib.decompress(encode("compress")) == b'say "hi"\n'


def test_an_unknown_encoder_is_refused_with_those_there_are() -> None:
    with pytest.raises(OptionError, match=r"log-encoder: there is no encoder 'msgpack'; there are prefix, "):
        read_encoder("msgpack map:1", "log-encoder")


def test_every_logger_without_a_name_gets_every_line() -> None:
    one, two, default = Memory(), Memory(), Memory()
    chain = Chain([(None, one), (None, two)], Rules(), default)
    chain.write(b"line\n")
    assert (one.lines, two.lines, default.lines) == ([b"line\n"], [b"line\n"], [])


def test_without_loggers_lines_go_where_they_went() -> None:
    default = Memory()
    chain = Chain([], Rules(), default)
    chain.write(b"line\n")
    assert default.lines == [b"line\n"]
    assert chain.single is default


def test_a_route_takes_its_lines_away_from_the_others() -> None:
    errors, slow, rest, default = Memory(), Memory(), Memory(), Memory()
    routes = read_routes(["errors HTTP/1.\\d 500", "slow slow"], "log-route", ["errors", "slow"])
    chain = Chain([("errors", errors), (None, rest), ("slow", slow)], Rules(routes=routes), default)
    for line in (b"HTTP/1.1 500\n", b"slow\n", b"slow HTTP/1.0 500\n", b"other\n"):
        chain.write(line)
    assert errors.lines == [b"HTTP/1.1 500\n", b"slow HTTP/1.0 500\n"]
    assert slow.lines == [b"slow\n", b"slow HTTP/1.0 500\n"]
    assert rest.lines == [b"other\n"]
    assert default.lines == []


def test_a_logger_with_a_name_and_no_route_leaves_the_lines_where_they_went() -> None:
    named, default = Memory(), Memory()
    Chain([("named", named)], Rules(), default).write(b"line\n")
    assert (named.lines, default.lines) == ([], [b"line\n"])


def test_an_encoder_for_one_logger_leaves_the_others_alone() -> None:
    named, rest = Memory(), Memory()
    encoders = [read_encoder("prefix:named for named ", ""), read_encoder("prefix for all ", "")]
    rules = Rules(encoders=encoders, routes=read_routes(["named x"], "", ["named"]))
    chain = Chain([("named", named), (None, rest)], rules, Memory())
    chain.write(b"x\n")
    chain.write(b"y\n")
    assert named.lines == [b"for all for named x\n"]
    assert rest.lines == [b"for all y\n"]


def test_drained_lines_are_dropped_and_only_filtered_ones_stay() -> None:
    memory = Memory()
    rules = Rules(drain=read_patterns(["secret"], ""), only=read_patterns(["GET", "POST"], ""))
    chain = Chain([(None, memory)], rules, Memory())
    for line in (b"GET /\n", b"GET /secret\n", b"PUT /\n", b"POST /\n"):
        chain.write(line)
    assert memory.lines == [b"GET /\n", b"POST /\n"]


@pytest.mark.parametrize(
    ("text", "name", "kind", "argument"),
    [
        ("file:/tmp/a b", None, "file", "/tmp/a b"),
        ("name1 syslog:id,local6", "name1", "syslog", "id,local6"),
        ("stdio", None, "stdio", ""),
        ("socket:127.0.0.1:1717,prefix ", None, "socket", "127.0.0.1:1717,prefix "),
    ],
)
def test_a_logger_is_read_as_uwsgi_reads_it(text: str, name: str | None, kind: str, argument: str) -> None:
    assert read_logger(text, "logger") == Spec(name, kind, argument, "logger")


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("logger", "redislog:127.0.0.1", "logger: there is no logger 'redislog'; there are file, fd, stdio, socket"),
        ("logger", "file:", "logger: file:: expected the path of a file behind the colon"),
        ("logger", "file:/no/such/directory/log", "logger: cannot open file:/no/such/directory/log: No such file"),
        ("logger", "file:maxsize=1", "expected logfile=path, maxsize=bytes and backupname=path"),
        ("logger", "file:logfile=x,maxsize=big", "invalid literal for int"),
        ("logger", "fd:12345", "cannot open fd:12345: Bad file descriptor"),
        ("logger", "socket:127.0.0.1:0", "expected a port from 1 to 65535, but '0' came"),
        ("logger", "syslog:me,nowhere", "there is no facility 'nowhere'; there are auth, "),
        ("req_logger", "nope", "req-logger: there is no logger 'nope'"),
        ("log_route", "name x", "log-route: there is no logger named 'name'; no logger has a name"),
        ("log_route", "name", "log-route: expected the name of a logger and a regular expression, but 'name' came"),
        ("log_drain", "(", r"log-drain: '\(' is no regular expression"),
        ("log_encoder", "rot13", "log-encoder: there is no encoder 'rot13'"),
        ("logto", "/no/such/directory/log", "logto: cannot open '/no/such/directory/log': No such file or directory"),
        ("logfile_chmod", "7777", "logfile-chmod: expected three octal digits such as 640, but '7777' came"),
    ],
)
def test_an_option_that_cannot_work_is_refused_with_a_sentence(option: str, value: str, sentence: str) -> None:
    with pytest.raises(OptionError, match=sentence):
        ProcessLogs(build(**{option: value}).loggers)


@pytest.mark.parametrize(
    ("options", "piped"),
    [
        ({}, False),
        ({"logto": "log"}, False),
        ({"logger": "file:log"}, False),
        ({"logger": "stdio"}, False),
        ({"logger": ["named file:log"]}, False),
        ({"req_logger": "socket:/s"}, False),
        ({"log_req_encoder": "nl"}, False),
        ({"logger": ["file:log", "stdio"]}, True),
        ({"log_syslog": ""}, True),
        ({"log_socket": "/s"}, True),
        ({"log_encoder": "nl"}, True),
        ({"log_drain": "x"}, True),
    ],
)
def test_what_is_printed_comes_through_a_pipe_only_where_lines_must_be_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, object], piped: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    logs = ProcessLogs(build(**options).loggers)
    logs.close()
    assert logs.piped is piped
