"""The formats of config files, and that no text crashes their readers."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.options.paper import Paper, is_option
from uwsgi_async.errors import OptionError
from uwsgi_async.options.commandline import parse
from uwsgi_async.options.config.engine import read
from uwsgi_async.options.config.entries import COMMAND_LINE, Entry
from uwsgi_async.options.config.expand import compute, expand
from uwsgi_async.options.config.readers import READERS

Pairs = list[tuple[str, str | None]]


def entries(kind: str, text: str, section: str = "uwsgi") -> Pairs:
    found = READERS[kind](text, section, f"app.{kind}")
    assert found is not None
    return [(entry.key, entry.value) for entry in found]


@pytest.mark.parametrize("kind", ["yaml", "json", "toml"])
def test_other_formats_say_the_same(kind: str) -> None:
    texts = {
        "yaml": "uwsgi:\n  master: true\n  processes: 4\n  env: [A=1, B=2]\n",
        "json": '{"uwsgi": {"master": true, "processes": 4, "env": ["A=1", "B=2"]}}',
        "toml": '[uwsgi]\nmaster = true\nprocesses = 4\nenv = ["A=1", "B=2"]\n',
    }
    entries = READERS[kind](texts[kind], "uwsgi", f"app.{kind}")
    assert entries is not None
    assert [(entry.key, entry.value) for entry in entries] == [
        ("master", "true" if kind == "yaml" else "1"), ("processes", "4"), ("env", "A=1"), ("env", "B=2"),
    ]  # fmt: skip


def test_pyproject_has_a_table_of_its_own() -> None:
    world = Paper({"pyproject.toml": '[project]\nname = "x"\n[tool.uwsgi-async]\nprocesses = 3\n'})
    assert parse(["--toml", "pyproject.toml"], world).process.processes == 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=1\n b\t= 2 \n\tc\n", [("a", "1"), ("b", "2"), ("c", "")]),
        ("; c\n # c\na = 1 ; no comment\n", [("a", "1 ; no comment")]),
        ("a = b = c\r\nd =\r\n", [("a", "b = c"), ("d", "")]),
        ("a = 1\n[other]\na = 2\n[uwsgi]\na = 3", [("a", "1"), ("a", "3")]),
        ('a = x\\\nb = "q"', [("a", "x\\"), ("b", '"q"')]),
        ("clé = été", [("clé", "été")]),
    ],
)
def test_ini_is_read_as_uwsgi_reads_it(text: str, expected: Pairs) -> None:
    assert entries("ini", f"[uwsgi]\n{text}") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rack: %(_)\n  endif:", [("rack", "%(_)"), ("endif", "")]),
        ("route: ^/a addheader: X: y", [("route", "^/a addheader: X: y")]),
        ("log-format: %(addr) 'x' # c\n  a: \"q\"", [("log-format", "%(addr) 'x'"), ("a", "q")]),
        ("env:\n   - A=1\n   - %(b)\r\n  c: d: e", [("env", "A=1"), ("env", "%(b)"), ("c", "d: e")]),
        ("name: @(x)\n\n# c\nother:\n  b: 1", [("name", "@(x)")]),
    ],
)
def test_a_value_that_needs_quotes_in_yaml_may_lack_them_as_in_uwsgi(text: str, expected: Pairs) -> None:
    assert entries("yaml", f"uwsgi:\n  {text}") == expected


def test_what_is_yaml_is_read_as_yaml() -> None:
    text = "uwsgi:\n  module: 'a:b'  # c\n  socket: [x, y]\n  env:\n    - A=1\n    - B=2\n  socket: z\n"
    assert entries("yaml", text) == [
        ("module", "a:b"), ("socket", "x"), ("socket", "y"), ("env", "A=1"), ("env", "B=2"), ("socket", "z"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "text", "sentence"),
    [
        ("yaml", "uwsgi:\n  a: [1\n", "app.yaml:3: this is not YAML: "),
        ("yaml", "uwsgi:\n  a: {b: 1}\n", "app.yaml:2: a: expected a value or a list of values"),
        ("yaml", "uwsgi: 3", "app.yaml:1: expected key: value pairs, but a scalar came"),
        ("yaml", "- a", "app.yaml:1: expected key: value pairs, but a sequence came"),
        ("yaml", "uwsgi:\n  [a]: 1", "app.yaml:2: expected a name before the colon, but a sequence came"),
        ("json", '{"uwsgi":\n {"a" 1}}', "app.json:2: this is not JSON: "),
        ("json", '{"uwsgi":\n {"a": {}}}', "app.json:2: a: expected a value or a list of values, but a dict came"),
        ("json", "[1]", "app.json:1: expected sections with options, but a list came"),
        ("json", "{}", "app.json:1: expected options in 'uwsgi', but there is no such section"),
        ("json", '{"uwsgi": {"a": ' + "9" * 5000 + "}}", "app.json:1: this JSON cannot be read: "),
        ("json", "[" * 100_000, "app.json:1: this JSON cannot be read: "),
        ("toml", "[uwsgi]\na = ", "app.toml:2: this is not TOML that can be read: "),
        ("toml", "[uwsgi]\na = 1979-05-27", "app.toml:2: a: expected a value or a list of values, but a date came"),
        ("toml", "[uwsgi]\na.b = 1", "a: expected a value or a list of values, but a dict came"),
        ("toml", "[other]\na = 1", "app.toml:1: expected options in 'uwsgi', but there is no such section"),
        ("ini", "[uwsgi]\n[x] ; c", "app.ini:2: expected a section as [name], but '[x] ; c' came"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(kind: str, text: str, sentence: str) -> None:
    with pytest.raises(OptionError) as caught:
        entries(kind, text)
    assert str(caught.value).startswith(sentence) or (kind == "toml" and sentence in str(caught.value))


@pytest.mark.parametrize(
    ("expression", "value"),
    [("a", "7"), ("a + 3", "10"), ("a b", "7x"), ("a ++", "8"), ("a --", "6"), ("a * 2 - 4", "10"), ("a / 0", "0"),
     ("a / 2", "3"), ("nothing", None), ("nothing + 1", "1"), ("a + a b", "14x")],
)  # fmt: skip
def test_placeholders_compute_from_left_to_right(expression: str, value: str | None) -> None:
    assert compute(expression, {"a": "7", "b": "x"}.get) == value


@given(st.text(st.sampled_from("ab$%@() 1+-"), max_size=40))
def test_expansion_ends_or_says_that_it_would_not(value: str) -> None:
    try:
        text = expand(value, "%", lambda name: compute(name, {"a": "%(b)", "b": "1"}.get))
    except OptionError as error:
        text = str(error)
    assert isinstance(text, str)


TEXTS = st.text(max_size=200) | st.lists(
    st.sampled_from(
        ["[uwsgi]", "for = a b", "endfor =", "if-env = X", "endif", "a = %(a b)", "b = $(X)%(a)", "include = app.ini",
         "set-ph = q=1", "ini = :x", "[x]", "blacklist = a", "c = @(x)", "for-times = 9999", "inherit = app.ini:x"]
    ),
    max_size=12,
).map("\n".join)  # fmt: skip


@given(TEXTS, st.sampled_from(["ini", "yaml", "json", "toml"]))
def test_no_text_crashes_the_reader_and_every_error_has_a_line(text: str, kind: str) -> None:
    world = Paper({f"app.{kind}": text, "app.ini": text}, {"X": "%(a)"})
    said = "app.ini:0: nothing wrong"
    try:
        read([Entry(kind, f"app.{kind}", COMMAND_LINE)], [], world, is_option)
    except OptionError as error:
        said = str(error)
    assert re.match(r"app\.\w+:\d+: |the command line: ", said), said


@given(st.dictionaries(st.text("abc-", min_size=1), st.text(max_size=9) | st.integers() | st.booleans(), max_size=5))
def test_json_gives_back_what_was_written(options: dict[str, object]) -> None:
    entries = READERS["json"](json.dumps({"uwsgi": options}), "uwsgi", "x.json")
    assert entries is not None
    assert len(entries) == len(options)
    assert [entry.key for entry in entries] == list(options)
