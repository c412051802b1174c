"""The config language: what its words do, and what is said when something is wrong."""

from __future__ import annotations

import pytest

from tests.options.paper import Paper, error_of, is_option, listed, options, reading
from uwsgi_async.errors import OptionError
from uwsgi_async.options.commandline import configure, parse
from uwsgi_async.options.config.engine import read
from uwsgi_async.options.config.entries import COMMAND_LINE, Entry


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


def test_an_inherited_file_comes_behind_everything_and_its_placeholders_stay() -> None:
    found = options("inherit = part.ini\na = %(b)%(c)\nc = 1", part_ini="[uwsgi]\nb = %(a)2\ninherit = more.ini",
                    more_ini="[uwsgi]\nd = %n%N")  # fmt: skip
    assert found == [("a", "%(b)1"), ("c", "1"), ("b", "%(a)2"), ("d", "moreapp")]


def test_a_file_inside_of_a_loop_is_read_once_for_each_item_and_its_entries_are_not_repeated() -> None:
    found = options("for = x y\ninclude = %(_).ini\nb = %(_)\nendfor =\nc = 1", x_ini="[uwsgi]\na = x\nendif =",
                    y_ini="[uwsgi]\na = y")  # fmt: skip
    assert found == [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y"), ("c", "1")]


def test_a_section_alone_is_one_of_the_ini_file_that_was_read_last() -> None:
    text = "include = part.ini\nini = :more"
    assert options(text, part_ini="[uwsgi]\na = 1\n[more]\nb = %n%x") == [("a", "1"), ("b", "partmore")]


def test_the_environment_is_read_first_and_the_command_line_before_files() -> None:
    world = Paper({"app.ini": "[uwsgi]\nthreads = 3\n"}, {"UWSGI_THREADS": "1", "UWSGI_PROCESSES": "5"})
    options = parse(["app.ini", "--threads", "2"], world)
    assert (options.app.threads, options.process.processes) == (3, 5)


def test_only_what_uwsgi_tells_its_children_is_left_out_of_the_environment() -> None:
    world = Paper(
        {}, {"UWSGI_RELOADS": "1", "UWSGI_EMPEROR_FD": "3", "UWSGI_EMPEROR": "/etc", "UWSGI_HTTP_SOCKET": ":1"}
    )
    assert [(entry.key, str(entry.origin)) for entry in read([], [], world, is_option).entries] == [
        ("emperor", "the environment's UWSGI_EMPEROR"), ("http-socket", "the environment's UWSGI_HTTP_SOCKET"),
    ]  # fmt: skip


def test_a_letter_is_an_option_on_the_command_line_only() -> None:
    options = parse(
        ["-p", "2", "app.ini"], Paper({"app.ini": "[uwsgi]\np = 7\nx = 1\nset-ph = s=%(p)"}, {"UWSGI_P": "9"})
    )
    assert options.process.processes == 2


def test_the_capital_magic_variables_mean_the_first_file_that_is_no_template() -> None:
    world = Paper({"base.ini": "[uwsgi]\na = %N", "app.ini": "[uwsgi]\nb = %N%n\ninclude = base.ini"})
    words = [Entry("ini", "app.ini", COMMAND_LINE)]
    read_so = [entry.value for entry in read(words, [Entry("", "base.ini", COMMAND_LINE)], world, is_option).entries]
    assert read_so == ["appapp", "app", "app"]
    assert [entry.value for entry in read([], words, world, is_option).entries] == ["app", ""]


def test_a_reload_is_seen_by_the_conditions() -> None:
    text = "[uwsgi]\nif-reload =\na = again\nendif =\nif-not-reload =\na = first\nendif ="
    assert reading(text, reload=True).entries[0].value == "again"
    assert reading(text).entries[0].value == "first"


def test_conditions_about_the_host() -> None:
    text = (
        "if-hostname = paper\na = 1\nendif =\nif-hostname-match = ^pa\na = 2\nendif =\nif-not-hostname = paper\na = 3"
    )
    assert options(text) == [("a", "1"), ("a", "2")]


def test_a_condition_is_asked_anew_for_each_entry() -> None:
    assert options("if-not-opt = a\na = 1\nb = 2\nendif =") == [("a", "1")]


def test_an_argument_of_a_condition_is_taken_as_it_stands_and_that_is_told() -> None:
    found = reading("[uwsgi]\nif-exists = $(X)\na = 1\nendif =", environ={"X": "app.ini"})
    assert found.entries == ()
    assert found.warnings == (
        "app.ini:2: if-exists: '$(X)' is taken as it stands: placeholders are replaced later",
    )  # fmt: skip


def test_a_list_that_is_not_there_repeats_nothing_and_that_is_told() -> None:
    found = reading("[uwsgi]\nfor-readline = no.txt\na = 1\nb = 1\nendfor =\nc = 1")
    assert [entry.key for entry in found.entries] == ["c"]
    assert found.warnings == ("app.ini:2: for-readline: cannot read 'no.txt', so nothing is repeated",)


def test_everything_is_listed_in_its_order() -> None:
    assert listed("include = part.ini\nif-env = X\na = 1\nendif =\nset-ph = b=2", part_ini="[uwsgi]\nc = 3") == [
        ("include", "part.ini"), ("c", "3"), ("if-env", "X"), ("endif", ""), ("set-ph", "b=2"), ("b", "2"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "expanded"),
    [("%(one)/%(two)", "1/2"), ("%(o%(rest))", "1"), ("%(one", "%(one"), ("%()%(one)", "%()1"),
     ("%(no)%(one)", "%(no)1"), ("$(E $ x)", "$(E $ x)"), ("%(late)x", "12x"), ("%(a(b))", "%(a(b))"),
     ("%%(one)", "1"), ("$(E)", "e1"),
     ("%(ph)", "1!"), ("100%", "100%")],
)  # fmt: skip
def test_placeholders_are_replaced(value: str, expanded: str) -> None:
    text = f"one = 1\nrest = ne\nset-ph = ph=%(one)!\nx = {value}\nlate = %(one)%(two)\ntwo = 2"
    assert (
        dict(reading(f"[uwsgi]\n{text}", environ={"E": "e%(one)"}).listed and options(text, environ={"E": "e%(one)"}))[
            "x"
        ]
        == expanded
    )


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
        ("ini = app.ini", "app.ini:2: ini: this file is being read already, it would never end: app.ini > app.ini"),
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
        ("include = part.xml", "app.ini:2: include: expected a file that ends with .ini"),
        ("include = a.ini", "app.ini:2: include: cannot read 'a.ini': No such file"),
        ("include = $(X).ini", "'$(X).ini': No such file or directory, and placeholders are replaced later than files"),
        ("ini =", "app.ini:2: ini: expected a value, but none came"),
        ("ini = :x:", "app.ini:2: ini: cannot read ':x'"),
        ("for-times = 99999999999999999999\na = 1", "app.ini:2: for-times: expected a number"),
        ("for-times = 9999\na = 1\na = 2", "app.ini:3: a: expected at most 10000 options"),
        ("resolve = db=unknown", "app.ini:2: resolve: the host 'unknown' is not known"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_file_and_line(text: str, sentence: str) -> None:
    assert sentence in error_of(text)


@pytest.mark.parametrize(("value", "on"), [("", True), ("true", True), ("x", True), ("no", False), ("0", False)])
def test_a_switch_of_the_language_may_be_off(value: str, on: bool) -> None:
    assert reading(f"[uwsgi]\nstrict = {value}").strict is on


def test_strict_forbids_unknown_names_and_lets_placeholders_be_set() -> None:
    parse(["--strict", "app.ini"], Paper({"app.ini": "[uwsgi]\nset-ph = a=1\nchdir = %(a)"}))
    with pytest.raises(OptionError, match=r"app\.ini:2: a: unknown option"):
        parse(["--strict", "app.ini"], Paper({"app.ini": "[uwsgi]\na = 1\nchdir = %(a)"}))


def test_files_inside_of_files_have_a_limit() -> None:
    world = Paper({f"{n}.ini": f"[uwsgi]\nini = {n + 1}.ini" for n in range(50)})
    with pytest.raises(OptionError, match=r"29\.ini:2: ini: expected files inside of files up to 30 deep"):
        parse(["--ini", "0.ini"], world)


def run(text: str, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[object, str]:
    """Return the exit status of a configuration that ends the command, and what was printed."""
    with pytest.raises(SystemExit) as caught:
        configure([*words, "app.ini"], Paper({"app.ini": f"[uwsgi]\n{text}"}))
    return caught.value.code, capsys.readouterr().out


@pytest.mark.parametrize(("line", "status"), [("exit = 3", 3), ("exit", 0), ("exit = x", 0)])
def test_exit_ends_at_once(line: str, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(f"iprint = first\nprint = late\n{line}\niprint = second\nini = no.ini", capsys) == (status, "first\n")


def test_get_prints_values_and_ends(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--get", "a", "--get=nothing", "--get", "b")
    assert run("a = %(b)1\nb = 2\nprint = p is %(b)", capsys, *words) == (0, "p is 2\n21\n2\n")


def test_print_prints_and_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    configure(["app.ini"], Paper({"app.ini": "[uwsgi]\nprint = %(later)\nlater = \udcff"}))
    assert capsys.readouterr().out == "\\udcff\n"
