import dataclasses
from typing import Any

import pytest

from uwsgi_async.errors import OptionError
from uwsgi_async.options.build import build
from uwsgi_async.options.commandline import parse
from uwsgi_async.options.settings import Configuration, CoreOptions, Options, SocketOptions


def refusal(**options: Any) -> str:
    with pytest.raises(OptionError) as caught:
        build(**options)
    return str(caught.value)


def test_no_keywords_are_all_defaults() -> None:
    assert build() == Options()


def test_keywords_find_their_subsystems() -> None:
    assert build(cores=7, harakiri=5.0, http_socket=":0") == Options(
        cores=CoreOptions(cores=7, harakiri=5.0), sockets=SocketOptions(http_socket=(":0",))
    )


def test_keywords_and_the_command_line_give_the_same() -> None:
    by_words = parse(["--http=:0", "--http=:1", "--async=3", "--trio", "--module=m", "--http-parser=h11"])
    by_keywords = build(http_socket=[":0", ":1"], cores=3, trio=True, module="m", http_parser="h11")
    assert by_keywords == dataclasses.replace(by_words, configuration=Configuration())


@pytest.mark.parametrize(
    ("given", "seconds"),
    [({}, 65.0), ({"grace": 300}, 305.0), ({"reload_mercy": 5}, 5.0), ({"grace": 300, "reload_mercy": 5}, 5.0)],
)
def test_a_worker_has_all_its_time_before_it_is_killed(given: dict[str, Any], seconds: float) -> None:
    assert build(**given).mercy == seconds


def test_an_int_stands_for_a_float() -> None:
    harakiri = build(harakiri=5).cores.harakiri
    assert harakiri == 5.0
    assert isinstance(harakiri, float)


@pytest.mark.parametrize("given_value", [":0", [":0"], (":0",)])
def test_a_repeated_option_takes_one_or_a_sequence(given_value: Any) -> None:
    assert build(http_socket=given_value).sockets.http_socket == (":0",)


def test_none_is_taken_where_it_is_declared() -> None:
    assert build(module=None).load.module is None
    assert refusal(callable=None) == "callable: expected text, but None came"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"cores": "7"}, "cores: expected a whole number, at least 1, but '7' came"),
        ({"cores": True}, "cores: expected a whole number, at least 1, but True came"),
        ({"cores": 7.0}, "cores: expected a whole number, at least 1, but 7.0 came"),
        ({"cores": 0}, "cores: expected a whole number, at least 1, but 0 came"),
        ({"harakiri": False}, "harakiri: expected a number of seconds, at least 0, but False came"),
        ({"harakiri": -0.5}, "harakiri: expected a number of seconds, at least 0, but -0.5 came"),
        ({"harakiri": float("nan")}, "harakiri: expected a number of seconds, at least 0, but nan came"),
        ({"trio": 1}, "trio: expected true or false, but 1 came"),
        ({"http_parser": "x"}, "http_parser: expected httptools or h11, but 'x' came"),
        ({"http_parser": []}, "http_parser: expected httptools or h11, but [] came"),
        ({"http_socket": 80}, "http_socket: expected text, but 80 came"),
        ({"http_socket": [80]}, "http_socket: expected text, but 80 came"),
        ({"http_socket": b":0"}, "http_socket: expected text, but b':0' came"),
    ],
)
def test_a_wrong_value_is_refused_with_name_expectation_and_value(options: dict[str, Any], sentence: str) -> None:
    assert refusal(**options) == sentence


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("core", "did you mean 'cores'?"),
        ("http", "did you mean 'http_socket'?"),
        ("worker_reload_mercy", "did you mean 'grace'?"),
        ("qqqq", "docs/options.md lists all of them"),
    ],
)
def test_an_unknown_keyword_is_refused_with_the_nearest_one(name: str, hint: str) -> None:
    assert refusal(**{name: 1}) == f"unknown option {name!r}; {hint}"
