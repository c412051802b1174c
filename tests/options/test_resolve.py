"""What entries mean: values as uWSGI takes them, and a sentence for each entry that is of no use."""

from __future__ import annotations

import pytest

from tests.options.paper import Paper
from uwsgi_async.errors import OptionError
from uwsgi_async.options.commandline import check, configure, parse
from uwsgi_async.options.settings import Options


def configured(text: str, **environ: str) -> tuple[Options, tuple[str, ...]]:
    resolution = configure(["app.ini"], Paper({"app.ini": f"[uwsgi]\n{text}\n"}, environ))
    assert resolution.options is not None
    return resolution.options, resolution.remarks


def test_all_wrong_lines_are_reported_at_once() -> None:
    text = "[uwsgi]\nharakiri = soon\nemperor = /etc\npythonpath = $(NOPE)\nprocesses = 0\nmodule = x\n"
    with pytest.raises(OptionError) as caught:
        parse(["app.ini"], Paper({"app.ini": text}))
    assert [line.split(": ")[0] for line in str(caught.value).split("\n")] == [f"app.ini:{n}" for n in (2, 3, 4, 5)]


def test_a_line_in_a_loop_is_told_once() -> None:
    with pytest.raises(OptionError) as caught:
        configured("for = a b c\nemperor = /etc/x\nendfor =")
    assert len(str(caught.value).split("\n")) == 1


def test_unsupported_options_can_be_ignored() -> None:
    world = Paper({"app.ini": "[uwsgi]\nemperor = /etc\nprocesses = 2"})
    resolution = configure(["--ignore-unsupported", "app.ini"], world)
    assert resolution.options is not None
    assert resolution.options.process.processes == 2
    assert "app.ini:2: emperor is not supported" in resolution.remarks[0]


def test_a_switch_that_is_not_supported_may_be_off() -> None:
    assert configured("catch-exceptions = false\nenable-threads = off\nmodule = x")[1] == ()


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


def test_whatever_does_not_say_no_is_a_yes_and_that_is_told() -> None:
    options, remarks = configured("master = maybe\nlog-4xx = FALSE\nlog-5xx = false ; not now\nlazy-apps = 2")
    assert (options.process.master, options.log.log_4xx, options.log.log_5xx, options.process.lazy_apps) == (
        True, False, True, True,
    )  # fmt: skip
    assert [remark.partition(" is taken as true, as uWSGI does")[0] for remark in remarks] == [
        "app.ini:2: master: 'maybe'", "app.ini:4: log-5xx: 'false ; not now'", "app.ini:5: lazy-apps: '2'",
    ]  # fmt: skip


def test_a_buffer_size_that_is_too_large_is_the_largest_in_a_file() -> None:
    options, remarks = configured("buffer-size = 131072")
    assert options.packet.buffer_size == 65535
    assert remarks == ("app.ini:2: buffer-size: 131072 is more than there can be: it is 65535",)


@pytest.mark.parametrize(("value", "seconds"), [("true", 75.0), ("", 75.0), ("off", 0.0), ("1", 1.0), ("20", 20.0)])
def test_a_number_that_may_be_left_out_may_be_a_yes_or_no(value: str, seconds: float) -> None:
    assert configured(f"http-keepalive = {value}")[0].cores.keepalive_timeout == seconds


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("harakiri = 30s", "app.ini:2: harakiri: expected a number of seconds, at least 0, but '30s' came"),
        ("processes = many", "app.ini:2: processes: expected a whole number, at least 1, but 'many' came"),
        (
            f"limit-post = {'9' * 400}",
            f"app.ini:2: limit-post: expected a whole number of bytes, at least 0, but '{'9' * 199} came",
        ),
        ("processes =", "app.ini:2: processes: expected a whole number, at least 1, but '' came"),
        (
            "master = $(NO)",
            "app.ini:2: master: the placeholder $(NO) has no value: expected the environment to have 'NO'",
        ),
        (
            "chdir = %(no)",
            "the placeholder %(no) has no value: expected an option or a placeholder 'no' in some config",
        ),
        ("inherit = base.ini", "base.ini:2: chdir: the placeholder %(a) has no value: in an inherited file none are"),
    ],
)
def test_a_wrong_value_is_told_with_file_line_and_expectation(line: str, sentence: str) -> None:
    files = {"app.ini": f"[uwsgi]\n{line}\na = 1", "base.ini": "[uwsgi]\nchdir = %(a)"}
    with pytest.raises(OptionError) as caught:
        parse(["app.ini"], Paper(files))
    assert sentence in str(caught.value)


def test_a_wrong_value_in_the_environment_is_told_with_the_variable() -> None:
    with pytest.raises(OptionError, match="the environment's UWSGI_PROCESSES: processes: expected a whole number"):
        parse([], Paper({}, {"UWSGI_PROCESSES": "few"}))


def test_a_variable_that_is_nearly_an_option_is_remarked() -> None:
    (remark,) = configure([], Paper({}, {"UWSGI_PROCESESS": "1", "UWSGI_ROOT": "x"})).remarks
    assert remark.startswith("the environment's UWSGI_PROCESESS: procesess: no option")


def test_a_log_format_keeps_its_variables_and_gets_what_is_known() -> None:
    text = "name = shop\nlog-format = %(name) %(uri) $(HOST)"
    assert configured(text, HOST="h")[0].log.log_format == "shop %(uri) h"
