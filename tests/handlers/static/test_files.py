"""Which file a path names: what is asked for is below the root, or nothing is found."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uwsgi_async.handlers.static.files import Files, Map, Root
from uwsgi_async.options.loading import StaticOptions

INSIDE, OUTSIDE = b"inside", b"outside"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with files and links of every kind. What may be sent says so; what may not, too."""
    top = tmp_path_factory.mktemp("static")
    for name, content in {
        "root/a.txt": INSIDE,
        "root/with space": INSIDE,
        "root/sub/index.html": INSIDE,
        "root/sub/deep/b.txt": INSIDE,
        "root/empty/.keep": INSIDE,
        "root/app.php": INSIDE,
        "root/...": INSIDE,
        "root/%2e%2e": INSIDE,
        "outside.txt": OUTSIDE,
        "root-secret/s.txt": OUTSIDE,
        "safe/s.txt": INSIDE,
    }.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(content)
    root = top / "root"
    (Path(os.fsdecode(os.fsencode(root) + b"/\xff\xfe.txt"))).write_bytes(INSIDE)
    for name, target in {
        "link_in": "a.txt",
        "link_out": "../outside.txt",
        "link_secret": "../root-secret/s.txt",
        "link_safe": "../safe/s.txt",
        "link_absolute": str(top / "outside.txt"),
        "link_dir": "../root-secret",
        "link_up": "..",
        "link_self": "link_self",
        "link_nowhere": "nowhere",
        "sub/back": "../a.txt",
        "sub/index.htm": "../../outside.txt",
        "chain": "link_out",
        "proc": "/proc/self/root",
        "environ": "/proc/self/environ",
    }.items():
        (root / name).symlink_to(target)
    os.mkfifo(root / "fifo")
    return top


@pytest.fixture(scope="module")
def files(tree: Path) -> Files:
    root = str(tree / "root")
    return Files(
        StaticOptions(
            check_static=(root,),
            static_map=(f"/m={root}", f"/file={root}/a.txt", f"/n/={root}"),
            static_index=("index.htm", "index.html"),
            static_safe=(str(tree / "safe"),),
            static_skip_ext=(".php",),
        )
    )


def content(files: Files, path: bytes) -> bytes | None:
    found = files.find(path)
    if found is None:
        return None
    with found:
        return os.pread(found.fd, 100, 0)


GOOD = [
    b"/a.txt",
    b"a.txt",
    b"//a.txt",
    b"/./a.txt",
    b"/sub/../a.txt",
    b"/sub/./../sub/deep/b.txt",
    b"/../root/a.txt",
    b"/with space",
    b"/sub/deep/b.txt",
    b"/link_in",
    b"/sub/back",
    b"/link_safe",
    b"/\xff\xfe.txt",
    b"/...",
    b"/%2e%2e",
    b"/m/a.txt",
    b"/m//a.txt",
    b"/n/a.txt",
    b"/file",
    b"/file/whatever",
    b"/sub",  # its first index leads out of the root, its second does not
    b"/sub/",
]

EVIL = [
    b"",
    b"/",
    b"/empty",
    b"/empty/",
    b"/nothing",
    b"/a.txt/",
    b"/a.txt/.",
    b"/a.txt/../a.txt",
    b"/a.txt\0.jpg",
    b"/\0",
    b"/../outside.txt",
    b"/m/../outside.txt",
    b"/../root-secret/s.txt",
    b"/m/../root-secret/s.txt",
    b"/m../root-secret/s.txt",
    b"/m..",
    b"/ma.txt",
    b"/filea.txt",
    b"/n",
    b"/sub/../../outside.txt",
    b"/link_out",
    b"/link_secret",
    b"/link_absolute",
    b"/link_dir/s.txt",
    b"/link_up/outside.txt",
    b"/link_up/root-secret/s.txt",
    b"/link_self",
    b"/link_nowhere",
    b"/chain",
    b"/proc/etc/passwd",
    b"/environ",
    b"/fifo",
    b"/etc/passwd",
    b"//etc/passwd",
    b"/..%2foutside.txt",
    b"/%2e%2e/outside.txt",
    b"\\..\\outside.txt",
    b"/app.php",
    b"/" + b"../" * 50 + b"etc/passwd",
    b"/" + b"../" * 2000 + b"etc/passwd",
    b"/" + b"x" * 300,
    b"/" + b"x/" * 5000,
    b"/a.txt" + b"/" * 5000,
]


@pytest.mark.parametrize("path", GOOD)
def test_a_file_below_the_root_is_found(files: Files, path: bytes) -> None:
    assert content(files, path) == INSIDE


@pytest.mark.parametrize("path", EVIL, ids=lambda path: repr(path[:40]))
def test_a_path_that_names_no_file_below_the_root_finds_nothing(files: Files, path: bytes) -> None:
    assert content(files, path) is None


PIECES = [
    b"/",
    b"..",
    b".",
    b"a.txt",
    b"sub",
    b"deep",
    b"m",
    b"link_up",
    b"link_dir",
    b"link_out",
    b"root",
    b"\0",
    b"%2e",
]
PIECES += [b"root-secret", b"s.txt", b"outside.txt", b"//", b"\xff", b"link_in", b"chain", b"proc", b"link_self"]
paths = st.lists(st.sampled_from(PIECES) | st.binary(max_size=3), max_size=12).map(b"".join)


@given(path=paths)
def test_whatever_is_found_is_below_the_root_or_safe(tree: Path, files: Files, path: bytes) -> None:
    found = files.find(path)
    if found is None:
        return
    with found:
        real = Path(os.fsdecode(os.readlink(f"/proc/self/fd/{found.fd}")))
        assert real.is_relative_to(tree / "root") or real.is_relative_to(tree / "safe")
        assert os.fsencode(real) == found.path
        assert os.pread(found.fd, 100, 0) == INSIDE
        assert found.size == len(INSIDE)


def test_what_was_judged_is_what_is_read(tree: Path, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the judgement and the reading a directory becomes a link out of the root: the classic race."""
    place = tree / "root" / "race"
    place.mkdir()
    (place / "s.txt").write_bytes(INSIDE)
    real_readlink = os.readlink

    def readlink_then_swap(path: bytes) -> bytes:
        told = real_readlink(path)
        place.rename(tree / "root" / "raced")
        place.symlink_to("../root-secret")
        return told

    monkeypatch.setattr(os, "readlink", readlink_then_swap)
    assert content(files, b"/race/s.txt") == INSIDE
    monkeypatch.undo()
    assert content(files, b"/race/s.txt") is None


@pytest.mark.parametrize(
    ("prefix", "path", "rest"),
    [
        (b"/static", b"/static/a", b"/a"),
        (b"/static", b"/static", b""),
        (b"/static", b"/statics", None),
        (b"/static", b"/static../a", None),
        (b"/static/", b"/static/a", b"a"),
        (b"/static/", b"/static", None),
        (b"/", b"/a", b"a"),
        (b"", b"/a", b"/a"),
        (b"", b"", b""),
    ],
)
def test_a_map_is_for_whole_segments(tmp_path: Path, prefix: bytes, path: bytes, rest: bytes | None) -> None:
    root = Root(str(tmp_path))
    assert Map(prefix, root, False).rest(path) == rest
    assert Map(prefix, root, True).rest(path) == (None if rest is None else path)


def test_maps_are_tried_in_uwsgis_order(tmp_path: Path) -> None:
    for name in ("check", "map", "map2/x", "docroot/x"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / name.replace("/", "_")).write_text(name)
        (tmp_path / name / "all").write_text(name)
    (tmp_path / "check" / "x").mkdir()
    files = Files(
        StaticOptions(
            static_map2=(f"/x={tmp_path}/map2",),
            static_map=(f"/x={tmp_path}/map",),
            check_static=(f"{tmp_path}/check",),
        )
    )
    docroot = os.fsencode(tmp_path / "docroot")

    def told(path: bytes, docroot: bytes = b"") -> bytes | None:
        found = files.find(path, docroot)
        if found is None:
            return None
        with found:
            return os.pread(found.fd, 100, 0)

    assert told(b"/all") == b"check"
    assert told(b"/x/all") == b"map"
    assert told(b"/x/map2_x") == b"map2/x"
    assert told(b"/x/docroot_x") is None
    assert told(b"/x/docroot_x", docroot) == b"docroot/x"


def test_a_root_may_come_later(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = Files(StaticOptions(check_static=(str(tmp_path / "later"),)))
    assert f"'{tmp_path}/later' is not there" in caplog.text
    assert content(files, b"/a") is None
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "a").write_bytes(INSIDE)
    assert content(files, b"/a") == INSIDE


def test_a_root_that_is_a_link_is_followed_once(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_text(name)
    (tmp_path / "current").symlink_to("one")
    files = Files(StaticOptions(check_static=(str(tmp_path / "current"),)))
    (tmp_path / "current").unlink()
    (tmp_path / "current").symlink_to("two")
    assert content(files, b"/a") == b"one"


def test_an_escape_is_logged_on_one_line(tree: Path, files: Files, caplog: pytest.LogCaptureFixture) -> None:
    (tree / "out\nside").write_bytes(OUTSIDE)
    assert content(files, b"/../out\nside") is None
    (record,) = caplog.records
    assert "security error" in record.getMessage()
    assert "\n" not in record.getMessage()


def test_the_root_itself_may_be_the_whole_machine() -> None:
    files = Files(StaticOptions(check_static=("/",)))
    assert content(files, b"/etc/hostname") is not None


def test_when_the_machine_is_out_of_descriptors_it_is_told(files: Files) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = [os.open("/dev/null", os.O_RDONLY)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (held[0] + 1, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            files.find(b"/a.txt")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        os.close(held[0])
