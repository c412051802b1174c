"""Another process of an instance, as a test sees it: attaches to caches, and does what it is told.

`Peers` starts some and asks them. The program reads a JSON list of cache, method and arguments from each line, and
answers with a line. Bytes travel as text of the same code points.
"""

from __future__ import annotations

import json
import operator
import subprocess
import sys
from types import TracebackType
from typing import Any

from uwsgi_async.state.cache.caches import Caches
from uwsgi_async.state.cache.counting import quotient

OPERATIONS = {"inc": operator.add, "dec": operator.sub, "mul": operator.mul, "div": quotient}


class Peers:
    """So many processes that have the caches. ``ask`` one of them; leaving the block ends them."""

    def __init__(self, caches: Caches, count: int) -> None:
        words = [sys.executable, "-m", "tests.state.cache.peer", json.dumps(caches.described())]
        self._processes = [
            subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=caches.fds, text=True)
            for _ in range(count)
        ]

    def __enter__(self) -> Peers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.close()
            process.wait(20)
            process.stdout.close()

    def __len__(self) -> int:
        return len(self._processes)

    def ask(self, number: int, cache: str, method: str, *arguments: Any) -> Any:
        """Call a method of a cache in process ``number``."""
        process = self._processes[number]
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps([cache, method, _out(list(arguments))]) + "\n")
        process.stdin.flush()
        return _in(json.loads(process.stdout.readline()))


def _out(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"bytes": value.decode("latin-1")}
    return [_out(each) for each in value] if isinstance(value, list | tuple) else value


def _in(value: Any) -> Any:
    if isinstance(value, dict):
        return value["bytes"].encode("latin-1")
    return [_in(each) for each in value] if isinstance(value, list) else value


def main() -> None:
    caches = Caches.attach(json.loads(sys.argv[1]))
    for line in sys.stdin:
        cache, method, arguments = json.loads(line)
        values = _in(arguments)
        if method == "calculate":
            values[1] = OPERATIONS[values[1]]
        print(json.dumps(_out(getattr(caches.by_name[cache], method)(*values))), flush=True)


if __name__ == "__main__":
    main()
