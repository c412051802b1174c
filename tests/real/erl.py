"""Erlang's own programs for tests: an epmd on a free port, and a node of erl's that evaluates what it is told."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.real.parts import require
from tests.real.test_nginx import free_port

PACKAGE = "erlang-base"
COOKIE = "tests"
TIMEOUT = 30.0  # seconds

# Reads expressions, one a line, and prints the value of each, one a line.
SHELL = """
spawn(fun() ->
  ok = io:setopts([{encoding, unicode}]),
  Loop = fun L() ->
    case io:get_line("") of
      eof -> halt();
      Line ->
        Result = try
          {ok, Tokens, _} = erl_scan:string(Line),
          {ok, Parsed} = erl_parse:parse_exprs(Tokens),
          {value, Value, _} = erl_eval:exprs(Parsed, []),
          Value
        catch Class:Reason -> {Class, Reason} end,
        io:format("~0tp~n", [Result]),
        L()
    end
  end,
  io:format("up~n"),
  Loop()
end).
"""


class Erl:
    """A node. ``name``: its full name."""

    def __init__(self, name: str, process: subprocess.Popen[bytes]) -> None:
        self.name = name
        self.popen = process
        self._buffer = b""

    def eval(self, expressions: str) -> str:
        """Evaluate expressions, without the full stop, and return the value of the last one as Erlang prints it."""
        assert self.popen.stdin is not None
        self.popen.stdin.write(" ".join(expressions.split()).encode() + b".\n")
        self.popen.stdin.flush()
        return self.line()

    def line(self) -> str:
        """Return the next line that it prints."""
        assert self.popen.stdout is not None
        deadline = time.monotonic() + TIMEOUT
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            assert left > 0, f"{self.name} says nothing; so far: {self._buffer!r}"
            if select.select([self.popen.stdout], [], [], left)[0]:
                data = os.read(self.popen.stdout.fileno(), 65536)
                assert data, f"{self.name} has ended: {self._buffer!r}"
                self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode()

    def kill(self) -> None:
        """End it without any last words."""
        self.popen.send_signal(signal.SIGKILL)
        self.popen.wait(TIMEOUT)


@contextmanager
def epmd(port: int | None = None) -> Iterator[int]:
    """Run an epmd of our own; all programs that begin meanwhile use it. Gives its port."""
    port = port or free_port()
    before = os.environ.get("ERL_EPMD_PORT")
    os.environ["ERL_EPMD_PORT"] = str(port)
    process = subprocess.Popen(
        [require("epmd", PACKAGE), "-port", str(port), "-address", "127.0.0.1", "-relaxed_command_check"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + TIMEOUT
        while subprocess.run([process.args[0], "-names"], capture_output=True).returncode:  # type: ignore[index]
            assert time.monotonic() < deadline, "epmd does not answer"
            assert process.poll() is None, "epmd has ended"
            time.sleep(0.02)
        yield port
    finally:
        process.kill()
        process.wait(TIMEOUT)
        if before is None:
            del os.environ["ERL_EPMD_PORT"]
        else:
            os.environ["ERL_EPMD_PORT"] = before


@contextmanager
def erl(alive: str, *flags: str, cookie: str = COOKIE) -> Iterator[Erl]:
    """Run a node named ``alive``@127.0.0.1."""
    name = f"{alive}@127.0.0.1"
    process = subprocess.Popen(
        [
            require("erl", PACKAGE),
            *("+S", "1:1", "-noshell"),
            *("-kernel", "logger_level", "none"),
            *("-name", name, "-setcookie", cookie),
            *flags,
            "-eval",
            SHELL,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        node = Erl(name, process)
        assert node.line() == "up"
        yield node
    finally:
        process.kill()
        process.wait(TIMEOUT)
        process.stdin.close()
        process.stdout.close()
