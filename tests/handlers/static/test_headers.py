"""Content types, Expires, compressed variants."""

from __future__ import annotations

from pathlib import Path

import pytest

from uwsgi_async.handlers.static.headers import Expiry, Variants, read_types, type_of
from uwsgi_async.options.loading import StaticOptions

NOW, MTIME = 1000, 500


def test_types_come_from_the_given_files_first_then_from_pythons_table(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("# a comment\ntext/one  css  one # another\n\ntext/nothing\n")
    (tmp_path / "two").write_text("text/two css two")
    types = read_types([str(tmp_path / "one"), str(tmp_path / "two")])
    assert (types["css"], types["one"], types["two"]) == ("text/one", "text/one", "text/two")
    assert types["html"] == "text/html"


def test_a_missing_file_of_types_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read_types([str(tmp_path / "none")])["png"] == "image/png"
    assert f"no {tmp_path}/none file found" in caplog.text


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (b"/a/b.html", "text/html"),
        (b"/a/b.HTML", "text/html"),
        (b"/a/b.tar.gz", "application/gzip"),
        (b"/a/b", None),
        (b"/a.html/b", None),
        (b"/a/.html", "text/html"),
        (b"/a/b.", None),
        (b"/a/b.\xff", None),
    ],
)
def test_the_suffix_tells_the_type(path: bytes, kind: str | None) -> None:
    assert type_of(path, read_types([])) == kind


def expires(options: StaticOptions, **subjects: str) -> str | None:
    found = {"path": "", "path_info": "", "uri": "", "type": "", **subjects}
    return Expiry(options).value(found, NOW, MTIME)


def test_expires_counts_from_now_or_from_the_last_change() -> None:
    options = StaticOptions(static_expires=(r"\.css$ 60",), static_expires_mtime=(r"\.js$ 60",))
    assert expires(options, path="/a.css") == "Thu, 01 Jan 1970 00:17:40 GMT"
    assert expires(options, path="/a.js") == "Thu, 01 Jan 1970 00:09:20 GMT"
    assert expires(options, path="/a.png") is None


@pytest.mark.parametrize(
    ("options", "subject"),
    [
        (StaticOptions(static_expires=("fit 1",)), "path"),
        (StaticOptions(static_expires_path_info=("fit 1",)), "path_info"),
        (StaticOptions(static_expires_uri=("fit 1",)), "uri"),
        (StaticOptions(static_expires_type=("fit=1",)), "type"),
        (StaticOptions(static_expires_path_info_mtime=("fit 501",)), "path_info"),
        (StaticOptions(static_expires_uri_mtime=("fit 501",)), "uri"),
        (StaticOptions(static_expires_type_mtime=("fit=501",)), "type"),
    ],
)
def test_each_rule_looks_at_its_own_subject(options: StaticOptions, subject: str) -> None:
    for name in ("path", "path_info", "uri", "type"):
        assert (expires(options, **{name: "fit"}) == "Thu, 01 Jan 1970 00:16:41 GMT") is (name == subject)


def test_a_type_has_to_match_as_a_whole() -> None:
    options = StaticOptions(static_expires_type=("text/html=1",))
    assert expires(options, type="text/html5") is None
    assert expires(options, type="xtext/html") is None


@pytest.mark.parametrize(
    ("options", "paths"),
    [
        (StaticOptions(static_gzip_all=True), (b"/s/a.css", b"/t/a.js")),
        (StaticOptions(static_gzip_dir=("/s",)), (b"/s/a.css",)),
        (StaticOptions(static_gzip_ext=(".js",)), (b"/t/a.js",)),
        (StaticOptions(static_gzip=(r"a\.(css|js)$",)), (b"/s/a.css", b"/t/a.js")),
        (StaticOptions(), ()),
    ],
)
def test_variants_are_looked_for_where_an_option_says_so(options: StaticOptions, paths: tuple[bytes, ...]) -> None:
    variants = Variants(options)
    assert tuple(path for path in (b"/s/a.css", b"/t/a.js") if variants.may_be(path)) == paths


@pytest.mark.parametrize(
    ("accept", "codings"),
    [
        ("gzip", ["gzip"]),
        ("gzip, deflate, br", ["br", "gzip"]),
        ("GZIP;q=0.5", ["gzip"]),
        ("br;q=0, gzip;q=1.0", ["gzip"]),
        ("*", ["br", "gzip"]),
        ("*;q=0, gzip", ["gzip"]),
        ("gzip;q=nonsense", []),
        ("identity", []),
        ("xgzip", []),
        ("", []),
    ],
)
def test_a_variant_is_sent_to_who_takes_it(accept: str, codings: list[str]) -> None:
    assert [coding for coding, _ in Variants.accepted(accept)] == codings
