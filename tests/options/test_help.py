"""``--help``: what a person finds there, and that its examples work."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.command import COMMAND, program
from tests.options.paper import Paper
from uwsgi_async.options import catalog
from uwsgi_async.options.build import by_field, groups
from uwsgi_async.options.commandline import CHECK, check, configure
from uwsgi_async.options.config.words import HELP, WORDS
from uwsgi_async.options.render import EXAMPLES, dashed, render_help, render_search, title_of
from uwsgi_async.options.resolve import names

DOCS = Path(__file__).parents[2] / "docs" / "configuration.md"
FILES = {"app.ini": "[uwsgi]\nmodule = x\nchdir = /%(region)\nset-ph = region=eu\n[production]\nmodule = y\n"}


def searched(words: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as caught:
        configure(["--help", *words.split()], Paper({}))
    assert caught.value.code == 0
    return capsys.readouterr().out


def test_every_word_of_the_language_is_explained_once() -> None:
    explained = [name for each, _, _ in HELP for name in each]
    assert sorted(explained) == sorted(WORDS)


def test_options_stand_in_groups_in_the_order_of_their_subsystems() -> None:
    text = render_help()
    titles = [title_of(subsystem) for subsystem in groups()]
    places = [text.index(f"\n{title}\n") for title in [*titles, "What config files are made of", "Help", "Examples"]]
    assert places == sorted(places)


def test_a_search_finds_options_words_and_the_rest_of_uwsgis() -> None:
    text = render_search("harakiri")
    assert text.index("--harakiri, -t SECONDS") < text.index("--mule-harakiri")
    assert "--if-env, --ifenv NAME[=VALUE]" in render_search("if-env")
    assert "not supported: an emperor is a process manager" in render_search("vassals")


def test_a_search_is_for_all_words_and_their_beginnings() -> None:
    text = render_search("log x forw")
    assert "--log-x-forwarded-for" in text
    assert "--log-slow" not in text.partition("Examples")[0]
    assert "backlog" not in render_search("log")


def test_a_search_shows_the_examples_that_use_what_it_has_found() -> None:
    text = render_search("chmod")
    assert [line for line in EXAMPLES if line in text] == [line for line in EXAMPLES if "--chmod" in line]
    assert "Examples" not in render_search("blocking-limit")


@pytest.mark.parametrize(
    ("words", "sentence"), [("qqqqqq", "--help lists all"), ("harakri", "did you mean 'harakiri'?")]
)
def test_a_search_in_vain_says_so(words: str, sentence: str) -> None:
    assert render_search(words).startswith(f"no option is about {words!r}; ")
    assert sentence in render_search(words)


@pytest.mark.parametrize("words", ["spooler", "--spooler"])
def test_the_word_behind_help_is_searched_for(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--spooler" in searched(words, capsys)


def test_every_option_can_be_found_by_each_of_its_names() -> None:
    for name in names():
        assert dashed(name) in render_search(name)


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_works(example: str) -> None:
    command, *words = shlex.split(example)
    assert command == "uwsgi-async"
    resolution = configure([word for word in words if word != CHECK], Paper(FILES))
    assert resolution.problems == ()


def test_lines_are_short_enough_for_a_terminal() -> None:
    for text in (render_help(), *(render_search(family.options[0].name) for family in catalog.families())):
        assert max(map(len, text.splitlines())) <= 100
    assert len(by_field()) > 50


def test_nobody_needs_to_read_it_to_its_end(tmp_path: Path) -> None:
    command = " ".join(map(shlex.quote, [*COMMAND, "--help"]))
    with program("sh", "-c", f"{command} | head -n 1; echo done", cwd=tmp_path) as process:
        assert process.end() == 0
        assert "Traceback" not in process.output
        assert process.output.startswith("usage: uwsgi-async")


@pytest.mark.parametrize(("kind", "text"), re.findall(r"```(ini|toml)\n(.*?)```", DOCS.read_text(), re.DOTALL))
def test_a_file_in_the_documentation_starts(kind: str, text: str) -> None:
    name = "pyproject.toml" if "tool." in text else f"app.{kind}"
    told, starts = check([name], Paper({name: text}, {"DEBUG": "1"}))
    assert starts, told
