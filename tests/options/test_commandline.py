import contextlib
import dataclasses
from importlib.metadata import version
from typing import Literal, get_args, get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uwsgi_async.errors import OptionError
from uwsgi_async.options.build import by_field
from uwsgi_async.options.commandline import RESERVED, parse
from uwsgi_async.options.render import dashed
from uwsgi_async.options.settings import Configuration, Options
from uwsgi_async.options.values import is_flag


def refusal(*argv: str) -> str:
    with pytest.raises(OptionError) as caught:
        parse(argv)
    return str(caught.value)


def test_no_words_are_all_defaults() -> None:
    assert dataclasses.replace(parse([]), configuration=Configuration()) == Options()


@pytest.mark.parametrize(
    "argv", [["--harakiri", "5"], ["--harakiri=5"], ["-t", "5"], ["-t5"], ["--harakiri", "1", "-t", "5.0"]]
)
def test_a_value_follows_its_flag_in_any_usual_form_and_the_last_one_counts(argv: list[str]) -> None:
    assert parse(argv).cores.harakiri == 5.0


def test_the_usual_command_line_is_understood() -> None:
    options = parse(["--http-socket", "127.0.0.1:0", "--async", "100", "--ugreen", "--wsgi-file", "app.py"])
    assert options.sockets.http_socket == ("127.0.0.1:0",)
    assert options.cores.cores == 100
    assert options.loop.sync_in_core is True
    assert options.load.wsgi_file == "app.py"


def test_a_switch_takes_no_word_from_behind_it() -> None:
    options = parse(["--trio", "app.py"])
    assert options.loop.trio is True
    assert options.load.wsgi_file == "app.py"


@pytest.mark.parametrize(("word", "value"), [("true", True), ("1", True), ("No", False), ("off", False)])
def test_a_switch_may_have_an_attached_value(word: str, value: bool) -> None:
    assert parse(["--trio", f"--trio={word}"]).loop.trio is value


def test_a_repeated_option_adds_up_in_order_under_all_its_flags() -> None:
    options = parse(["--http-socket", ":0", "-s", "@a", "--http=:1", "--socket", "b.sock"])
    assert options.sockets.http_socket == (":0", ":1")
    assert options.sockets.socket == ("@a", "b.sock")


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--async", "many"], "--async: expected a whole number, at least 1, but 'many' came"),
        (["--async", "1.5"], "--async: expected a whole number, at least 1, but '1.5' came"),
        (["--async", "0"], "--async: expected a whole number, at least 1, but '0' came"),
        (["--harakiri", "-1"], "--harakiri: expected a number of seconds, at least 0, but '-1' came"),
        (["-t", "nan"], "-t: expected a number of seconds, at least 0, but 'nan' came"),
        (["-t", "inf"], "-t: expected a number of seconds, at least 0, but 'inf' came"),
        (["-b65536"], "-b: expected a whole number of bytes, at least 1 and at most 65535, but '65536' came"),
        (["--http-parser=x"], "--http-parser: expected httptools or h11, but 'x' came"),
        (["--trio=maybe"], "--trio: expected true or false, but 'maybe' came"),
        (["--mount", "admin.py"], "--mount: expected text such as /admin=admin.py, but 'admin.py' came"),
        (["--unenv", "=x"], "--unenv: expected text such as NAME=value, but '=x' came"),
        (["--static-expires", "( 1"], r"--static-expires: expected text such as \.css$ 3600, but '( 1' came"),
        (
            ["--static-expires-type", "a=b"],
            "--static-expires-type: expected text such as text/css=3600, but 'a=b' came",
        ),
        (["--module", "a\0"], r"--module: expected text, but 'a\x00' came"),
    ],
)
def test_a_wrong_value_is_refused_with_flag_expectation_and_value(argv: list[str], sentence: str) -> None:
    assert refusal(*argv) == sentence


@pytest.mark.parametrize("rest", [[], ["--trio"], ["-L"]])
def test_a_missing_value_is_refused(rest: list[str]) -> None:
    assert refusal("--module", *rest) == "--module: expected text, but no value came"


def test_a_value_that_begins_with_a_dash_is_attached() -> None:
    assert parse(["--module=-x"]).load.module == "-x"


def test_an_unknown_option_is_refused_with_the_nearest_one() -> None:
    assert refusal("--htp-socket", ":0") == "unknown option --htp-socket; did you mean --http-socket?"
    assert refusal("--harakri=3") == "unknown option --harakri; did you mean --harakiri?"


@pytest.mark.parametrize("flag", ["--qqqqqq", "-q", "---"])
def test_an_unknown_option_that_is_near_to_none_is_refused(flag: str) -> None:
    assert refusal(flag) == f"unknown option {flag}; --help lists all of them"


def test_a_word_that_is_no_app_is_refused() -> None:
    assert refusal("pkg.mod").endswith(
        "app.py or package.module:callable, or a config file such as app.ini, but 'pkg.mod' came"
    )


@pytest.mark.parametrize(
    ("word", "wsgi_file", "module", "callable"),
    [
        ("dir/app.py", "dir/app.py", None, "application"),
        ("dir/app.wsgi:app", "dir/app.wsgi", None, "app"),
        ("pkg.mod:app", None, "pkg.mod:app", "application"),
        ("pkg.mod:make()", None, "pkg.mod:make()", "application"),
    ],
)
def test_a_bare_word_names_the_app(word: str, wsgi_file: str | None, module: str | None, callable: str) -> None:
    load = parse([word]).load
    assert (load.wsgi_file, load.module, load.callable) == (wsgi_file, module, callable)


def test_two_files_are_refused() -> None:
    assert refusal("a.py", "b.py") == "expected one app at most, but 'b.py' came after 'a.py'"


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_lists_every_flag_and_ends_with_0(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(["--trio", flag])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert all(dashed(f) in text for declared in by_field().values() for f in declared.flags)
    assert max(map(len, text.splitlines())) <= 100


def test_version_is_the_distributions_and_ends_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"uwsgi-async {version('uwsgi-async')}\n"


@pytest.mark.parametrize("field", sorted(by_field()))
def test_every_flag_of_every_option_is_accepted(field: str) -> None:
    declared = by_field()[field]
    for flag in declared.flags:
        default = declared.default
        text = str(default) if isinstance(default, int | float | str) else "text"
        if get_origin(kind := get_args(declared.type)[0] if declared.repeat else declared.type) is Literal:
            text = default or get_args(kind)[0]
        if declared.form is not None:
            text = declared.form.example
        text = "2" if kind is int and declared.repeat else text
        argv = [dashed(flag)] if is_flag(declared) else [dashed(flag), text]
        argv += ["--mules", "2"] if field == "farm" else []  # it needs somebody to be in it
        parts = [getattr(parse(argv), part) for part in Options.__dataclass_fields__]
        value = next(getattr(part, field) for part in parts if type(part) is declared.subsystem)
        expected = (
            True
            if is_flag(declared)
            else (kind(text) if kind is int else text,)
            if declared.repeat
            else default or text
        )
        assert value == (default if isinstance(default, int | float) and not is_flag(declared) else expected)


def test_no_option_has_a_reserved_flag() -> None:
    assert not {flag for declared in by_field().values() for flag in declared.flags} & set(RESERVED)


words = st.sampled_from(["--async", "-s", "--trio", "--trio=", "-t", "=", "-", "--", "a.py", "1", "-1", "x", "", "-sx"])


@given(st.lists(words | st.text(max_size=5).filter(lambda word: not word.startswith("-h")), max_size=6))
def test_any_words_are_options_or_an_option_error(argv: list[str]) -> None:
    with contextlib.suppress(OptionError):
        assert isinstance(parse(argv), Options)
