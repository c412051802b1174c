"""Conditions and ranges, without I/O: RFC 9110, 13 and 14."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uwsgi_async.handlers.static.conditions import Selection, http_date, parse_date, select

MTIME = 784_111_777
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
EARLIER = "Sun, 06 Nov 1994 08:49:36 GMT"
LATER = "Sun, 06 Nov 1994 08:49:38 GMT"
WHOLE = Selection("200 OK", 0, 10)


def selected(size: int = 10, method: str = "GET", **headers: str) -> Selection:
    vars = {"REQUEST_METHOD": method, **{f"HTTP_{name.upper()}": value for name, value in headers.items()}}
    return select(vars, size, MTIME)


def part(start: int, end: int, size: int = 10) -> Selection:
    return Selection("206 Partial Content", start, end - start, f"bytes {start}-{end - 1}/{size}")


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("bytes=0-3", part(0, 4)),
        ("bytes=3-3", part(3, 4)),
        ("bytes=7-", part(7, 10)),
        ("bytes=0-", part(0, 10)),
        ("bytes=5-99", part(5, 10)),
        ("bytes=-3", part(7, 10)),
        ("bytes=-99", part(0, 10)),
        ("BYTES= 0-3 ", part(0, 4)),
        ("bytes=00000000000000000000000000000000002-3", part(2, 4)),
        ("bytes=2-" + "9" * 5000, part(2, 10)),
    ],
)
def test_one_range_is_a_part(wanted: str, expected: Selection) -> None:
    assert selected(range=wanted) == expected


@pytest.mark.parametrize("wanted", ["bytes=10-", "bytes=99-100", "bytes=-0", "bytes=" + "9" * 5000 + "-"])
def test_a_range_beyond_the_file_is_416_and_tells_the_size(wanted: str) -> None:
    assert selected(range=wanted) == Selection("416 Requested Range Not Satisfiable", 0, 0, "bytes */10")


@pytest.mark.parametrize(
    "wanted",
    ["bytes=x-y", "bytes=5-2", "bytes=-", "bytes=", "lines=1-2", "0-3", "bytes=0-1,3-4", "bytes 0-3", "bytes=+1-2", ""],
)
def test_what_is_not_one_range_of_bytes_is_ignored(wanted: str) -> None:
    assert selected(range=wanted) == WHOLE


def test_of_an_empty_file_there_is_no_part() -> None:
    assert selected(size=0, range="bytes=0-").status.startswith("416")
    assert selected(size=0, range="bytes=-5") == Selection("200 OK", 0, 0)


def test_a_range_means_nothing_for_head() -> None:
    assert selected(method="HEAD", range="bytes=0-3") == WHOLE


def test_ranges_can_be_switched_off() -> None:
    vars = {"REQUEST_METHOD": "GET", "HTTP_RANGE": "bytes=0-3"}
    assert select(vars, 10, MTIME, ranges=False) == WHOLE


@pytest.mark.parametrize(
    ("if_range", "counts"), [(DATE, True), (EARLIER, False), (LATER, False), ('"etag"', False), ("nonsense", False)]
)
def test_if_range_lets_only_the_part_of_the_very_same_file_through(if_range: str, counts: bool) -> None:
    assert (selected(range="bytes=0-3", if_range=if_range) == part(0, 4)) is counts


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"if_modified_since": DATE}, "304"),
        ({"if_modified_since": LATER}, "304"),
        ({"if_modified_since": EARLIER}, "200"),
        ({"if_modified_since": "nonsense"}, "200"),
        ({"if_modified_since": "Sunday, 06-Nov-94 08:49:37 GMT"}, "304"),
        ({"if_modified_since": "Sun Nov  6 08:49:37 1994"}, "304"),
        ({"if_none_match": "*"}, "304"),
        ({"if_none_match": '"etag"', "if_modified_since": DATE}, "200"),
        ({"if_match": "*"}, "200"),
        ({"if_match": '"etag"'}, "412"),
        ({"if_unmodified_since": EARLIER}, "412"),
        ({"if_unmodified_since": DATE}, "200"),
        ({"if_unmodified_since": "nonsense"}, "200"),
        ({"if_match": "*", "if_unmodified_since": EARLIER}, "200"),
        ({"if_unmodified_since": EARLIER, "if_modified_since": DATE}, "412"),
        ({"range": "bytes=0-3", "if_modified_since": DATE}, "304"),
        ({"range": "bytes=99-", "if_modified_since": DATE}, "304"),
    ],
)
def test_conditions_are_judged_in_the_order_of_the_rfc(headers: dict[str, str], status: str) -> None:
    assert selected(**headers).status[:3] == status


def test_dates_are_written_and_read_back() -> None:
    assert http_date(MTIME + 0.9) == DATE
    assert parse_date(DATE) == MTIME


@given(st.text(max_size=40), st.integers(0, 50))
def test_any_range_selects_bytes_of_the_file_or_none(wanted: str, size: int) -> None:
    for text in (wanted, f"bytes={wanted}", f"bytes={wanted}-"):
        chosen = selected(size=size, range=text)
        assert 0 <= chosen.start <= chosen.start + chosen.count <= size
        if chosen.status[:3] == "206":
            assert chosen.range == f"bytes {chosen.start}-{chosen.start + chosen.count - 1}/{size}"
            assert chosen.count > 0


@given(st.text(max_size=60) | st.from_regex(r"\w{3}, \d{1,3} \w{3} \d{1,6} \d{1,3}:\d\d:\d\d GMT"))
def test_any_text_is_a_date_or_none(text: str) -> None:
    assert parse_date(text) is None or isinstance(parse_date(text), int)
