"""The formats of config files, and that no text crashes their readers."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.options.paper import Paper, is_option
from uwsgi_async.errors import OptionError
from uwsgi_async.options.commandline import parse
from uwsgi_async.options.config.engine import read
from uwsgi_async.options.config.entries import COMMAND_LINE, Entry
from uwsgi_async.options.config.expand import compute, expand
from uwsgi_async.options.config.readers import READERS
from uwsgi_async.options.resolve import names, resolve

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


KEYS = st.sampled_from(sorted(names())) | st.text(max_size=8)
VALUES = st.text(max_size=12) | st.sampled_from(
    ["1", "true", "-1", "4 ; four", "a=b", "%(a)", "%(a b + 2)", "$(X)", "@(app.ini)", "%(%(a))", "%n%N%%", "a b", ":x",
     "app.ini", "app.ini:x", "app.yaml", "9" * 400, "%()" * 99, "/x=y.py", "\\.css$ 3600", "*.ini", "(", "\0", "\ud800"]
)  # fmt: skip
PAIRS = st.lists(st.tuples(KEYS, VALUES), max_size=8)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
TEXTS = {
    "ini": st.lists(
        PAIRS.map(lambda pairs: "\n".join(f"{key} = {value}" for key, value in pairs))
        | st.sampled_from(["[uwsgi]", "[x]", "for = a b", "endfor =", "if-env = X", "endif", "for-times = 9999"]),
        max_size=9,
    ).map(lambda parts: "\n".join(["[uwsgi]", *parts])),
    "yaml": PAIRS.map(lambda pairs: "\n".join(["uwsgi:", *(f"  {key}: {value}" for key, value in pairs)])),
    "json": st.dictionaries(st.just("uwsgi") | KEYS, ANYTHING, max_size=3).map(json.dumps),
    "toml": PAIRS.map(lambda pairs: "\n".join(["[uwsgi]", *(f"{json.dumps(k)} = {json.dumps(v)}" for k, v in pairs)])),
}
FILES = st.sampled_from(sorted(TEXTS)).flatmap(
    lambda kind: st.tuples(st.just(kind), TEXTS[kind] | st.text(max_size=100) | st.binary(max_size=50).map(in_a_file))
)


def in_a_file(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


@settings(max_examples=150)
@given(FILES)
def test_no_text_in_any_format_crashes_and_every_error_has_a_file_and_a_line(file: tuple[str, str]) -> None:
    kind, text = file
    world = Paper({f"app.{kind}": text, "app.ini": text}, {"X": "%(a)"})
    try:
        reading = read([Entry(kind, f"app.{kind}", COMMAND_LINE)], [], world, is_option)
        sentences = [*resolve(reading).problems, *resolve(reading).remarks]
    except OptionError as error:
        sentences = [str(error)]
    for sentence in sentences:
        assert re.match(r"app\.\w+:\d+: |app\.\w+ has no section|the command line: ", sentence), sentence


@given(st.dictionaries(st.text("abc-", min_size=1), st.text(max_size=9) | st.integers() | st.booleans(), max_size=5))
def test_json_gives_back_what_was_written(options: dict[str, object]) -> None:
    entries = READERS["json"](json.dumps({"uwsgi": options}), "uwsgi", "x.json")
    assert entries is not None
    assert len(entries) == len(options)
    assert [entry.key for entry in entries] == list(options)
