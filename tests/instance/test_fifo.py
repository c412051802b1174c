"""The master FIFO alone: a real pipe, and commands that are noted down."""

from __future__ import annotations

import logging
import os
import stat
import string
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest

from uwsgi_async.errors import BrokenError, UsageError
from uwsgi_async.instance import fifo
from uwsgi_async.instance.fifo import MasterFifo

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _log_everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "uwsgi_async")


class Commands:
    """Notes which of its letters were obeyed."""

    def __init__(self, letters: str = "rsq") -> None:
        self.done = ""
        self.changed = anyio.Event()
        self.table = {letter: lambda letter=letter: self._note(letter) for letter in letters}

    def _note(self, letter: str) -> None:
        self.done += letter
        self.changed.set()
        self.changed = anyio.Event()

    async def wait_for(self, done: str) -> None:
        with anyio.fail_after(5):
            while self.done != done:
                await self.changed.wait()


@contextmanager
def opened(pipe: MasterFifo) -> Iterator[MasterFifo]:
    pipe.open()
    try:
        yield pipe
    finally:
        pipe.close()


def write(path: Path, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    os.write(fd, text.encode())
    os.close(fd)


async def test_letters_are_obeyed_in_their_order_and_from_any_number_of_writers(tmp_path: Path) -> None:
    path, commands = tmp_path / "fifo", Commands()
    with opened(MasterFifo([str(path)], commands.table)) as pipe:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pipe.run)
            write(path, "rs\n")
            await commands.wait_for("rs")
            write(path, "q")
            await commands.wait_for("rsq")
            tasks.cancel_scope.cancel()


async def test_only_its_user_may_write(tmp_path: Path) -> None:
    with opened(MasterFifo([str(tmp_path / "fifo")], {})):
        mode = (tmp_path / "fifo").stat().st_mode
    assert stat.S_ISFIFO(mode)
    assert stat.S_IMODE(mode) == 0o600


async def test_the_pipe_is_removed_at_the_end_unless_it_is_that_of_another_instance(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    with opened(MasterFifo([str(path)], {})):
        with opened(MasterFifo([str(path)], {})):
            pass
        assert not path.exists()
    with opened(MasterFifo([str(path)], {})) as first:
        second = MasterFifo([str(path)], {})
        with opened(second):
            first.close()
            assert path.exists()


async def test_a_slot_takes_the_pipe_to_its_path(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    paths, commands = [tmp_path / "zero", tmp_path / "one"], Commands()
    with opened(MasterFifo([str(path) for path in paths], commands.table)) as pipe:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pipe.run)
            write(paths[0], "r1s")
            await commands.wait_for("rs")
            assert not paths[0].exists()
            write(paths[1], "q0r")
            await commands.wait_for("rsqr")
            assert paths[0].exists()
            assert not paths[1].exists()
            tasks.cancel_scope.cancel()
    assert f"active master fifo is now {paths[1]}" in caplog.text


async def test_a_slot_that_does_not_exist_is_slot_0(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with opened(MasterFifo([str(tmp_path / "zero"), str(tmp_path / "one")], {})) as pipe:
        pipe.obey("1")
        pipe.obey("7")
        assert pipe.path == str(tmp_path / "zero")
    assert "there is no slot 7" in caplog.text


async def test_a_slot_that_cannot_be_taken_leaves_the_one_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "one").write_text("precious")
    commands = Commands()
    with opened(MasterFifo([str(tmp_path / "zero"), str(tmp_path / "one")], commands.table)) as pipe:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pipe.run)
            write(tmp_path / "zero", "1r")
            await commands.wait_for("r")
            write(tmp_path / "zero", "s")
            await commands.wait_for("rs")
            tasks.cancel_scope.cancel()
    assert "is there already and is no FIFO" in caplog.text
    assert (tmp_path / "one").read_text() == "precious"


async def test_a_pipe_that_was_removed_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fifo, "_LOOK", 0.01)
    path, commands = tmp_path / "fifo", Commands()
    with opened(MasterFifo([str(path)], commands.table)) as pipe:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pipe.run)
            path.unlink()
            with anyio.fail_after(5):
                while not path.exists():  # noqa: ASYNC110 - a file has no event
                    await anyio.sleep(0.005)
            write(path, "r")
            await commands.wait_for("r")
            tasks.cancel_scope.cancel()


@pytest.mark.parametrize("letter", "BESf")
async def test_a_letter_that_cannot_be_obeyed_says_why(letter: str, caplog: pytest.LogCaptureFixture) -> None:
    MasterFifo(["fifo"], {}).obey(letter)
    assert f"master FIFO: {letter} is not obeyed: " in caplog.text


async def test_an_unknown_letter_is_named_with_those_that_there_are(caplog: pytest.LogCaptureFixture) -> None:
    MasterFifo(["fifo"], Commands("rq").table).obey("z")
    assert "there is no command 'z'; there are BESfqr" in caplog.text


async def test_white_space_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    pipe = MasterFifo(["fifo"], {})
    for letter in string.whitespace:
        pipe.obey(letter)
    assert caplog.text == ""


async def test_a_file_in_the_place_of_the_pipe_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "fifo").write_text("precious")
    with pytest.raises(UsageError, match="is there already and is no FIFO"):
        MasterFifo([str(tmp_path / "fifo")], {}).open()
    assert (tmp_path / "fifo").read_text() == "precious"


async def test_a_directory_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(BrokenError, match=r"master-fifo: cannot make '.*missing/fifo': No such file"):
        MasterFifo([str(tmp_path / "missing" / "fifo")], {}).open()


async def test_there_are_ten_slots_at_most() -> None:
    with pytest.raises(UsageError, match="10 paths at most, but 11 came"):
        MasterFifo(["fifo"] * 11, {})
