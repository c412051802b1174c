"""Static files: status, headers and body as real uWSGI's, and each difference shown from both sides."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.parity.harness import Running, Seen, start
from tests.parity.oracle import require
from tests.parity.test_parity import packet, told

pytestmark = [pytest.mark.parity, pytest.mark.timeout(120)]

MTIME = 784_111_777
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
EARLIER = "Sun, 06 Nov 1994 08:49:36 GMT"
APP = """
def application(environ, start_response):
    start_response("200 OK", [("X-App", "1")])
    return [b"the app"]
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory in which both servers are started."""
    require()
    place = tmp_path_factory.mktemp("place")
    for name, content in {
        "app.py": APP,
        "types": "text/special special\ntext/css css\ntext/plain txt text\ntext/html html\n",
        "root/a.txt": "0123456789",
        "root/a.TXT": "capital",
        "root/style.css": "css",
        "root/style.css.gz": "gzipped",
        "root/x.special": "special",
        "root/x.unknown": "unknown",
        "root/noext": "noext",
        "root/with space.txt": "space",
        "root/empty.txt": "",
        "root/page.php": "php",
        "root/sub/index.html": "index",
        "root/sub/deep/file.txt": "deep",
        "root/bare/other.txt": "other",
        "root2/second.txt": "second",
        "root2/a.txt": "shadowed",
        "map2/m2/file.txt": "map2",
        "root-private/s.txt": "private",
        "outside.txt": "outside",
        "safe/s.txt": "safe",
    }.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(content)
    Path(os.fsdecode(os.fsencode(place) + b"/root/\xff.txt")).write_text("latin")
    for name, target in {
        "in.txt": "a.txt",
        "out.txt": "../outside.txt",
        "private.txt": "../root-private/s.txt",
        "safe.txt": "../safe/s.txt",
        "up": "..",
        "loop": "loop",
        "bare/index.html": "../../outside.txt",
    }.items():
        (place / "root" / name).symlink_to(target)
    for path in place.rglob("*"):
        os.utime(path, (MTIME, MTIME), follow_symlinks=False)
    return place


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, place: Path) -> Iterator[tuple[Running, Running]]:
    """The oracle and our server, with the same files."""
    words = [
        "--wsgi-file", "app.py", "--mimefile", "types", "--honour-range", "--static-map", "/s=root",
        "--static-map", "/s=root2", "--static-map", "/one=root/a.txt", "--static-map2", "/m2=map2",
        "--static-index", "home.html", "--static-index", "index.html", "--static-skip-ext", ".php",
        "--static-safe", str(place / "safe"), "--static-expires-type-mtime", "text/css=60", "--static-gzip-ext", ".css",
    ]  # fmt: skip
    with ExitStack() as stack:
        oracle, ours = (
            stack.enter_context(start(server, tmp_path_factory.mktemp("static"), *words, cwd=place))
            for server in ("oracle", "ours")
        )
        yield oracle, ours


def seen(running: Running, method: str, target: str, headers: dict[str, str]) -> object:
    """What is compared: Vary is ours alone."""
    status, reason, fields, body = told(running.request(method, target, headers=headers))
    return status, reason, [field for field in fields if field[0] != "Vary"], body


CASES: dict[str, tuple[str, str, dict[str, str]]] = {
    "a file": ("GET", "/s/a.txt", {}),
    "HEAD": ("HEAD", "/s/a.txt", {}),
    "POST": ("POST", "/s/a.txt", {}),
    "OPTIONS": ("OPTIONS", "/s/a.txt", {}),
    "an unknown type": ("GET", "/s/x.unknown", {}),
    "a type of one's own": ("GET", "/s/x.special", {}),
    "no suffix": ("GET", "/s/noext", {}),
    "a blank": ("GET", "/s/with%20space.txt", {}),
    "not UTF-8": ("GET", "/s/%ff.txt", {}),
    "empty": ("GET", "/s/empty.txt", {}),
    "not there": ("GET", "/s/nothing", {}),
    "skipped": ("GET", "/s/page.php", {}),
    "a directory": ("GET", "/s/sub", {}),
    "a directory with a slash": ("GET", "/s/sub/", {}),
    "a directory without an index": ("GET", "/s/sub/deep/", {}),
    "the root": ("GET", "/s", {}),
    "deep": ("GET", "/s/sub/deep/file.txt", {}),
    "the second root": ("GET", "/s/second.txt", {}),
    "a map to a file": ("GET", "/one", {}),
    "below a map to a file": ("GET", "/one/more", {}),
    "static-map2": ("GET", "/m2/file.txt", {}),
    "static-map2 is not static-map": ("GET", "/m2/m2/file.txt", {}),
    "a link": ("GET", "/s/in.txt", {}),
    "a link out of the root": ("GET", "/s/out.txt", {}),
    "a link to a safe place": ("GET", "/s/safe.txt", {}),
    "a link to itself": ("GET", "/s/loop", {}),
    "a link upwards": ("GET", "/s/up/outside.txt", {}),
    "a link upwards and down again": ("GET", "/s/up/root/a.txt", {}),
    "two slashes": ("GET", "/s//a.txt", {}),
    "a slash behind a file": ("GET", "/s/a.txt/", {}),
    "dots": ("GET", "/s/sub/../a.txt", {}),
    "encoded dots": ("GET", "/s/sub/%2e%2e/a.txt", {}),
    "encoded dots out of the root": ("GET", "/s/%2e%2e/outside.txt", {}),
    "encoded slashes": ("GET", "/s/sub%2fdeep%2ffile.txt", {}),
    "encoded slashes and dots": ("GET", "/s/..%2foutside.txt", {}),
    "an absolute path": ("GET", "/s//etc/passwd", {}),
    "many dots": ("GET", "/s/" + "%2e%2e/" * 50 + "etc/passwd", {}),
    "encoded twice": ("GET", "/s/%252e%252e/outside.txt", {}),
    "a long name": ("GET", "/s/" + "x" * 300, {}),
    "a long path": ("GET", "/s/" + "x/" * 600, {}),
    "not modified": ("GET", "/s/a.txt", {"If-Modified-Since": DATE}),
    "modified": ("GET", "/s/a.txt", {"If-Modified-Since": EARLIER}),
    "no date": ("GET", "/s/a.txt", {"If-Modified-Since": "nonsense nonsense nonsense non"}),
    "a range": ("GET", "/s/a.txt", {"Range": "bytes=2-4"}),
    "to the end": ("GET", "/s/a.txt", {"Range": "bytes=7-"}),
    "the last bytes": ("GET", "/s/a.txt", {"Range": "bytes=-3"}),
    "beyond the end": ("GET", "/s/a.txt", {"Range": "bytes=5-99"}),
    "not satisfiable": ("GET", "/s/a.txt", {"Range": "bytes=10-"}),
    "Expires": ("GET", "/s/style.css", {}),
    "compressed": ("GET", "/s/style.css", {"Accept-Encoding": "gzip, deflate"}),
    "compressed, of others": ("GET", "/s/a.txt", {"Accept-Encoding": "gzip"}),
    "elsewhere": ("GET", "/else", {}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_client_sees_the_same(both: tuple[Running, Running], case: str) -> None:
    oracle, ours = (seen(server, *CASES[case]) for server in both)
    assert ours == oracle


@pytest.mark.parametrize("path", ["/s/../outside.txt", "/s/a.txt", "s/a.txt", "/s/sub/../../outside.txt", ""])
def test_a_path_of_a_front_end_is_the_same(both: tuple[Running, Running], path: str) -> None:
    request = packet(0, {"REQUEST_METHOD": "GET", "PATH_INFO": path, "SERVER_PROTOCOL": "HTTP/1.1"})
    oracle, ours = (server.raw(server.uwsgi, request) for server in both)
    assert ours.partition(b"\r\n\r\n")[2] == oracle.partition(b"\r\n\r\n")[2]


LINE = re.compile(
    r"\|(app: \S+\|req: -1)/\d+\] .* (GET \S+) => (generated \d+ bytes) .*?( via \w+\(\))? \((\S+ \d+)\) (\d+ headers)"
)


@pytest.mark.parametrize(
    ("target", "headers"), [("/s/a.txt?1", {}), ("/s/a.txt?2", {"If-Modified-Since": DATE}), ("/s/empty.txt?3", {})]
)
def test_the_log_tells_the_same(both: tuple[Running, Running], target: str, headers: dict[str, str]) -> None:
    lines = []
    for server in both:
        server.request("GET", target, headers=headers)
        lines.append(
            server.log_until(lambda log: next((line for line in LINE.findall(log) if line[1] == f"GET {target}"), None))
        )
    assert lines[1] == lines[0]


def test_the_environ_s_docroot_is_looked_into(tmp_path: Path, place: Path) -> None:
    vars = {"REQUEST_METHOD": "GET", "PATH_INFO": "/a.txt", "SERVER_PROTOCOL": "HTTP/1.1"}
    request = packet(0, {**vars, "DOCUMENT_ROOT": str(place / "root")})
    bodies = []
    for server in ("oracle", "ours"):
        with start(server, tmp_path, "--wsgi-file", "app.py", "--check-static-docroot", cwd=place) as running:
            bodies.append(running.raw(running.uwsgi, request).partition(b"\r\n\r\n")[2])
    assert bodies == [b"0123456789", b"0123456789"]


def test_check_static_comes_first_and_needs_no_app(tmp_path: Path, place: Path) -> None:
    answers = []
    for server in ("oracle", "ours"):
        words = ("--check-static", "root2", "--static-check", "root", "--mimefile", "types")
        with start(server, tmp_path, *words, cwd=place) as running:
            answers.append([told(running.request("GET", path)) for path in ("/a.txt", "/style.css", "/x", "/")])
    assert answers[1] == answers[0]


# --- where we differ: see `tests.parity.differences.STATIC` --------------------------------------------------------


def pair(both: tuple[Running, Running], target: str, method: str = "GET", **headers: str) -> tuple[Seen, Seen]:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    oracle, ours = (server.request(method, target, headers=fields) for server in both)
    return oracle, ours


@pytest.mark.parametrize("target", ["/s/%2e%2e/root-private/s.txt", "/s/private.txt"])
def test_a_root_ends_at_a_slash_here(both: tuple[Running, Running], target: str) -> None:
    oracle, ours = pair(both, target)
    assert (oracle.body, ours.body) == (b"private", b"the app")


def test_a_map_ends_at_a_slash_here(both: tuple[Running, Running]) -> None:
    oracle, ours = pair(both, "/sa.txt")
    assert (oracle.body, ours.body) == (b"0123456789", b"the app")


def test_a_nul_byte_names_nothing_here(both: tuple[Running, Running]) -> None:
    oracle, ours = pair(both, "/s/page.php%00.txt")
    assert ours.body == b"the app"
    oracle, ours = pair(both, "/s/a.txt%00.php%00")
    assert (oracle.body, ours.body) == (b"0123456789", b"the app")


def test_an_index_may_not_lead_out_of_the_root_here(both: tuple[Running, Running]) -> None:
    oracle, ours = pair(both, "/s/bare")
    assert (oracle.body, ours.body) == (b"outside", b"the app")


def test_the_whole_as_a_range_is_206_here(both: tuple[Running, Running]) -> None:
    oracle, ours = pair(both, "/s/a.txt", Range="bytes=0-")
    assert (oracle.status, ours.status) == (200, 206)


@pytest.mark.parametrize(("wanted", "status"), [("bytes=x", 416), ("lines=1-2", 416), ("bytes=0-1,3-4", 206)])
def test_what_is_not_one_range_is_ignored_here(both: tuple[Running, Running], wanted: str, status: int) -> None:
    oracle, ours = pair(both, "/s/a.txt", Range=wanted)
    assert (oracle.status, ours.status, ours.body) == (status, 200, b"0123456789")


def test_head_has_no_ranges_here(both: tuple[Running, Running]) -> None:
    oracle, ours = pair(both, "/s/a.txt", "HEAD", Range="bytes=2-4")
    assert (oracle.status, ours.status) == (206, 200)


def test_if_range_is_for_the_same_date_here(both: tuple[Running, Running]) -> None:
    oracle, ours = pair(both, "/s/a.txt", Range="bytes=2-4", If_Range=EARLIER)
    assert (oracle.status, ours.status) == (206, 200)
    oracle, ours = pair(both, "/s/a.txt", Range="bytes=2-4", If_Range=DATE)
    assert (oracle.status, ours.status) == (206, 206)


def test_the_other_conditions_count_here(both: tuple[Running, Running]) -> None:
    oracle, ours = pair(both, "/s/a.txt", If_Unmodified_Since=EARLIER)
    assert (oracle.status, ours.status) == (200, 412)


def test_a_type_is_found_for_capital_letters_here(both: tuple[Running, Running]) -> None:
    types = [dict(answer.headers).get("Content-Type") for answer in pair(both, "/s/a.TXT")]
    assert types == [None, "text/plain"]


def test_ranges_need_no_option_here(tmp_path: Path, place: Path) -> None:
    statuses = []
    for server, words in (("oracle", ()), ("ours", ()), ("ours", ("--honour-range=false",))):
        with start(server, tmp_path, "--check-static", "root", *words, cwd=place) as running:
            statuses.append(running.request("GET", "/a.txt", headers={"Range": "bytes=2-4"}).status)
    assert statuses == [200, 206, 200]


@pytest.mark.parametrize("mode", ["x-sendfile", "XSendfile", "x-accel-redirect", "nginx"])
def test_the_web_server_in_front_is_told_the_same(tmp_path: Path, place: Path, mode: str) -> None:
    words = ["--wsgi-file", "app.py", "--mimefile", "types", "--check-static", "root", "--file-serve-mode", mode]
    words += ["--static-gzip-ext", ".css", "--static-expires-type-mtime", "text/css=60"]
    with ExitStack() as stack:
        servers = [stack.enter_context(start(name, tmp_path, *words, cwd=place)) for name in ("oracle", "ours")]
        for case in (
            ("GET", "/a.txt", {}),
            ("GET", "/sub/deep/file.txt", {}),
            ("GET", "/style.css", {"Accept-Encoding": "gzip"}),
            ("GET", "/a.txt", {"If-Modified-Since": DATE}),
            ("GET", "/a.txt", {"Range": "bytes=0-1"}),
            ("GET", "/out.txt", {}),
            ("HEAD", "/a.txt", {}),
        ):
            oracle, ours = (seen(server, *case) for server in servers)
            assert ours == oracle, case
