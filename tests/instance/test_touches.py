"""Which files are seen to change, and when something happens."""

from __future__ import annotations

import os
from pathlib import Path

import anyio
import pytest

from uwsgi_async.instance import touches
from uwsgi_async.instance.touches import Touches, Trigger, stamp_file, stamp_tree, watch_touches


def touch(path: Path, seconds: float = 1.0) -> None:
    """Change a file's time by so much, whatever the clock and the file system's grain."""
    after = path.stat().st_mtime_ns + int(seconds * 1e9)
    os.utime(path, ns=(after, after))


def test_each_path_that_was_touched_is_told_once(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for path in (one, two):
        path.touch()
    paths = [str(one), str(two)]
    watched = Touches(stamp_file)
    assert watched.look(paths) == []
    touch(one)
    assert watched.look(paths) == [str(one)]
    assert watched.look(paths) == []
    touch(one)
    touch(two)
    assert watched.look(paths) == paths


def test_a_path_that_appears_or_disappears_counts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "file"
    watched = Touches(stamp_file)
    assert watched.look([str(path)]) == []
    assert caplog.text.count(f"there is no {path} yet") == 1
    path.touch()
    assert watched.look([str(path)]) == [str(path)]
    path.unlink()
    assert watched.look([str(path)]) == [str(path)]
    assert watched.look([str(path)]) == []
    assert caplog.text.count(f"there is no {path} yet") == 1


def test_a_link_that_leads_to_an_older_release_counts(tmp_path: Path) -> None:
    old, new, link = tmp_path / "old", tmp_path / "new", tmp_path / "current"
    old.touch()
    new.touch()
    touch(old, -100)
    link.symlink_to(new)
    watched = Touches(stamp_file)
    watched.look([str(link)])
    link.unlink()
    link.symlink_to(old)
    assert watched.look([str(link)]) == [str(link)]


def test_a_path_that_is_new_in_the_list_does_not_count(tmp_path: Path) -> None:
    watched = Touches(stamp_file)
    watched.look([])
    assert watched.look([str(tmp_path)]) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda place: (place / "new").touch(),
        lambda place: (place / "file").unlink(),
        lambda place: touch(place / "file"),
        lambda place: (place / "file").rename(place / "renamed"),
    ],
    ids=["made", "removed", "touched", "renamed"],
)
def test_what_is_directly_in_a_directory_counts(tmp_path: Path, change: object) -> None:
    (tmp_path / "file").touch()
    watched = Touches(stamp_tree)
    watched.look([str(tmp_path)])
    change(tmp_path)  # type: ignore[operator]
    assert watched.look([str(tmp_path)]) == [str(tmp_path)]


class Told:
    """A trigger that notes what it was told."""

    def __init__(self, *paths: Path, tree: bool = False) -> None:
        self.told: list[str] = []
        self.changed = anyio.Event()
        self.trigger = Trigger(lambda: [str(path) for path in paths], self._note, tree)

    def _note(self, changed: str) -> None:
        self.told.append(changed)
        self.changed.set()


@pytest.mark.anyio
async def test_a_trigger_is_told_what_was_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(touches, "_LOOK", 0.01)
    one, two = tmp_path / "one", tmp_path / "two"
    for path in (one, two):
        path.touch()
    told, other = Told(one), Told(two)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            await tasks.start(watch_touches, [told.trigger, other.trigger])
            touch(one)
            await told.changed.wait()
            tasks.cancel_scope.cancel()
    assert told.told == [str(one)]
    assert other.told == []


@pytest.mark.anyio
async def test_changes_in_a_directory_are_told_when_they_have_come_to_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(touches, "_LOOK", 0.01)
    monkeypatch.setattr(touches, "_SETTLED", 0.3)
    told = Told(tmp_path, tree=True)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            await tasks.start(watch_touches, [told.trigger])
            for number in range(5):
                (tmp_path / f"{number}").touch()
                await anyio.sleep(0.05)  # the changes come one after the other
            await told.changed.wait()
            tasks.cancel_scope.cancel()
    assert told.told == [str(tmp_path)]
