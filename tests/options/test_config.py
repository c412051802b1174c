"""The config language: what its words do, and what is said when something is wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uwsgi_async.errors import OptionError
from uwsgi_async.options.commandline import check, configure, parse
from uwsgi_async.options.config.engine import Reading, read
from uwsgi_async.options.config.entries import COMMAND_LINE, Entry
from uwsgi_async.options.config.expand import compute, expand
from uwsgi_async.options.config.readers import READERS
from uwsgi_async.options.resolve import names


class Paper:
    """A machine that is nothing but a few texts."""

    def __init__(
        self, files: Mapping[str, str], environ: Mapping[str, str] | None = None, reload: bool = False
    ) -> None:
        self.files = files
        self.environ: Mapping[str, str] = environ or {}
        self.reload = reload
        self.hostname = "paper"

    def read(self, path: str) -> str:
        if path not in self.files:
            raise FileNotFoundError(2, "No such file or directory")
        return self.files[path]

    def exists(self, path: str) -> bool:
        return path in self.files

    is_file = exists

    def is_dir(self, path: str) -> bool:
        return any(name.startswith(f"{path}/") for name in self.files)

    def glob(self, pattern: str) -> Sequence[str]:
        return [name for name in self.files if re.fullmatch(pattern.replace("*", ".*"), name)]

    def inode(self, path: str) -> int:
        return 1

    def real_path(self, path: str) -> str:
        return f"/etc/apps/{path}"

    def resolve(self, name: str) -> str:
        if name != "known":
            raise OSError
        return "10.0.0.1"

    def facts(self) -> Mapping[str, str]:
        return {"h": self.hostname, "v": "/etc/apps"}


def reading(text: str, *, environ: Mapping[str, str] | None = None, reload: bool = False, **files: str) -> Reading:
    world = Paper(
        {"app.ini": text, **{name.replace("_", "."): content for name, content in files.items()}}, environ, reload
    )
    return read([], [Entry("ini", "app.ini", COMMAND_LINE)], world, lambda name: name in names())


def options(text: str, **more: str) -> list[tuple[str, str | None]]:
    return [(entry.key, entry.value) for entry in reading("[uwsgi]\n" + text, **more).entries]


def error_of(text: str, **more: str) -> str:
    with pytest.raises(OptionError) as caught:
        reading("[uwsgi]\n" + text, **more)
    return str(caught.value)


def test_entries_know_their_file_and_line() -> None:
    entries = reading("; a comment\n[uwsgi]\n\nmaster = true\n[other]\nx = 1\n[uwsgi]\nprocesses = 2").entries
    assert [(entry.key, str(entry.origin)) for entry in entries] == [
        ("master", "app.ini:4"),
        ("processes", "app.ini:8"),
    ]


def test_an_included_file_comes_in_its_place() -> None:
    assert options("a = 1\ninclude = part.ini\nb = 2", part_ini="[uwsgi]\nc = 3") == [
        ("a", "1"),
        ("c", "3"),
        ("b", "2"),
    ]


def test_an_inherited_file_comes_behind_everything_with_its_placeholders() -> None:
    found = options("inherit = part.ini\na = 1", part_ini="[uwsgi]\nb = %(a)2")
    assert found == [("a", "1"), ("b", "12")]


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


def test_the_environment_is_read_first_and_the_command_line_before_files() -> None:
    world = Paper({"app.ini": "[uwsgi]\nthreads = 3\n"}, {"UWSGI_THREADS": "1", "UWSGI_PROCESSES": "5"})
    options = parse(["app.ini", "--threads", "2"], world)
    assert (options.app.threads, options.process.processes) == (3, 5)


def test_a_reload_is_seen_by_the_conditions() -> None:
    text = "[uwsgi]\nif-reload =\na = again\nendif =\nif-not-reload =\na = first\nendif ="
    assert reading(text, reload=True).entries[0].value == "again"
    assert reading(text).entries[0].value == "first"


def test_conditions_about_the_host() -> None:
    text = (
        "if-hostname = paper\na = 1\nendif =\nif-hostname-match = ^pa\na = 2\nendif =\nif-not-hostname = paper\na = 3"
    )
    assert options(text) == [("a", "1"), ("a", "2")]


def test_a_resolved_name_is_a_placeholder() -> None:
    assert ("a", "10.0.0.1:80") in options("resolve = db=known\na = %(db):80")


def test_blacklist_and_whitelist_forbid() -> None:
    assert "app.ini:3: the option 'uid' is forbidden" in error_of("blacklist = uid gid\nuid = root")
    assert "app.ini:3: the option 'uid' is forbidden" in error_of("whitelist = processes\nuid = root")
    assert options("blacklist = uid\nend-blacklist =\nuid = x") == [("uid", "x")]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("ini = missing.ini", "app.ini:2: ini: cannot read 'missing.ini': No such file or directory"),
        ("ini = app.ini", "app.ini:2: ini: this file is being read already, it would never end: app.ini:uwsgi > app"),
        ("a = @(missing.txt)", "app.ini:2: a: @(missing.txt): cannot read 'missing.txt'"),
        ("a = @(http://x/y)", "app.ini:2: a: only files can be read"),
        ("ini = http://x/y.ini", "app.ini:2: ini: only files can be read"),
        ("a = x%(a)", "app.ini:2: a: the placeholders in this value never come to an end"),
        ("[broken", "app.ini:2: expected a section as [name]"),
        ("= value", "app.ini:2: expected key = value"),
        ("for = a b\nfor = c\nendfor =", "app.ini:3: for inside of for (app.ini:2): not possible"),
        ("set-ph = processes=2", "app.ini:2: set-ph: 'processes' is an option"),
        ("set = nothing", "app.ini:2: set: expected name=value"),
        ("for-times = many\na = 1", "app.ini:2: for-times: expected a number"),
        ("if-hostname-match = (\na = 1", "app.ini:2: if-hostname-match: '(' is no regular expression"),
        ("include = part.xml", "app.ini:2: expected a file that ends with .ini"),
        ("resolve = db=unknown", "app.ini:2: resolve: the host 'unknown' is not known"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_file_and_line(text: str, sentence: str) -> None:
    assert sentence in error_of(text)


def test_all_wrong_lines_are_reported_at_once() -> None:
    text = "[uwsgi]\nharakiri = soon\nemperor = /etc\npythonpath = $(NOPE)\nprocesses = 0\nmodule = x\n"
    with pytest.raises(OptionError) as caught:
        parse(["app.ini"], Paper({"app.ini": text}))
    assert [line.split(": ")[0] for line in str(caught.value).split("\n")] == [f"app.ini:{n}" for n in (2, 3, 4, 5)]


def test_unsupported_options_can_be_ignored() -> None:
    world = Paper({"app.ini": "[uwsgi]\nemperor = /etc\nprocesses = 2"})
    resolution = configure(["--ignore-unsupported", "app.ini"], world)
    assert resolution.options is not None
    assert resolution.options.process.processes == 2
    assert "app.ini:2: emperor is not supported" in resolution.remarks[0]


def test_a_slip_in_a_file_is_remarked_and_with_strict_an_error() -> None:
    text = "[uwsgi]\nprocesess = 2\nproject = x\nchdir = /%(project)\n"
    (remark,) = configure(["app.ini"], Paper({"app.ini": text})).remarks
    assert "app.ini:2: procesess: no option, so it is only a placeholder; did you mean processes?" in remark
    with pytest.raises(OptionError, match="procesess: unknown option"):
        parse(["--strict", "app.ini"], Paper({"app.ini": text}))


def test_values_in_files_are_read_as_uwsgi_reads_them() -> None:
    text = "[uwsgi]\nmaster\nprocesses = 4 ; four\ndisable-logging = off\nharakiri = 30\t# seconds\nchmod-socket =\n"
    options = parse(["app.ini"], Paper({"app.ini": text}))
    assert (options.process.master, options.process.processes) == (True, 4)
    assert (options.log.disable_logging, options.cores.harakiri) == (False, 30.0)
    assert options.sockets.chmod_socket == "666"


def test_check_says_what_would_happen() -> None:
    good = "[uwsgi]\nmodule = a\nhttp-socket = :80\nthunder-lock = true\n"
    text, starts = check(["app.ini"], Paper({"app.ini": good}))
    assert starts
    assert "thunder-lock: the event loop accepts" in text
    assert text.endswith("it would start")
    text, starts = check(["app.ini"], Paper({"app.ini": "[uwsgi]\nmodule = a\nemperor = x\n"}))
    assert not starts
    assert "emperor is not supported" in text


def test_print_and_exit_do_so(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(["app.ini"], Paper({"app.ini": "[uwsgi]\na = 1\nprint = a is %(a)\nexit = 3\n"}))
    assert caught.value.code == 3
    assert capsys.readouterr().out == "a is 1\n"


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
        read([], [Entry(kind, f"app.{kind}", COMMAND_LINE)], world, lambda name: name in names())
    except OptionError as error:
        said = str(error)
    assert re.match(r"app\.\w+:\d+: |the command line: ", said), said


@given(st.dictionaries(st.text("abc-", min_size=1), st.text(max_size=9) | st.integers() | st.booleans(), max_size=5))
def test_json_gives_back_what_was_written(options: dict[str, object]) -> None:
    entries = READERS["json"](json.dumps({"uwsgi": options}), "uwsgi", "x.json")
    assert entries is not None
    assert len(entries) == len(options)
    assert [entry.key for entry in entries] == list(options)
