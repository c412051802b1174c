"""The options as text for people: ``--help``, from the declarations, the words of the config language and the catalog.

What lives here: `render_help`, `render_search`, `dashed`. What does not: ``docs/options.md`` (`docs`).
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal, get_args, get_origin

from uwsgi_async.options import catalog
from uwsgi_async.options.build import groups, nearest
from uwsgi_async.options.config.words import HELP, SHORT
from uwsgi_async.options.declare import Declaration, declarations
from uwsgi_async.options.values import is_flag

_WIDTH: Final = 100  # characters in a line of --help
_INDENT: Final = " " * 8

_USAGE: Final = """\
usage: uwsgi-async [OPTION ...] [app.py] [app.ini ...]
       uwsgi-async check [OPTION ...] app.ini    say what would happen, and do not start
       uwsgi-async top|ps|reload|stop TARGET     an instance, by pid, pidfile or stats address
       uwsgi-async --help WORD                   all options about WORD, also of uWSGI alone

Serves WSGI apps over HTTP/1.1 and the uwsgi protocol. app.py is short for --wsgi-file app.py, and
package.module:callable for --module package.module:callable; app.ini, app.yaml, app.json, app.toml
and pyproject.toml ([tool.uwsgi-async]) are config files as uWSGI reads them. Any option may also be
in the environment: UWSGI_HTTP_SOCKET=:8000.
"""
_CONFIG_TITLE: Final = "What config files are made of"
_REST: Final = """\
Help
  --help, -h [WORD]
        print this, or the options about WORD, and exit
  --version
        print the version and exit
"""
EXAMPLES: Final = (
    "uwsgi-async --http-socket 127.0.0.1:8000 --async 100 app.py",
    "uwsgi-async --http-socket :8000 --master --processes 4 --chdir /srv/project --module project.wsgi",
    "uwsgi-async --http-socket :8000 --threads 20 --home /srv/venv --pythonpath /srv/lib shop.wsgi:app",
    "uwsgi-async --socket /run/app.sock --chmod-socket=660 --ini app.ini:production",
    "uwsgi-async --http-socket :8000 --mount /shop=shop.py --mount /blog=blog.py --manage-script-name",
    "uwsgi-async --http-socket :8000 --static-map /static=/srv/static --check-static /srv/public app.py",
    "uwsgi-async --http-socket :8000 --master --max-requests 5000 --harakiri 30 app.py",
    "uwsgi-async --http-socket :8000 --disable-logging --log-5xx --log-slow 1000 app.py",
    "uwsgi-async --http-socket :8000 --log-format '%(addr) \"%(method) %(uri)\" %(status)' app.py",
    "uwsgi-async --set-placeholder region=eu --show-config --strict app.ini",
    "uwsgi-async check app.ini",
)
"""Commands for the end of ``--help``; a search shows those with one of the options that it has found."""


@dataclass(frozen=True, slots=True)
class _Topic:
    """Something that ``--help`` tells of: its names without dashes, its group, its text, and what a search looks in."""

    names: tuple[str, ...]
    title: str
    text: str
    searched: str


def dashed(flag: str) -> str:
    """Return the flag as it is typed: one letter gets one dash, a word two."""
    return f"-{flag}" if len(flag) == 1 else f"--{flag}"


def title_of(subsystem: type) -> str:
    """Return what a group of options is about, from the first sentence of its dataclass."""
    return (subsystem.__doc__ or "").partition(". For ")[0].rstrip(".?")


def default_of(declared: Declaration) -> str:
    """Return the default as it would be typed; "" when there is nothing to tell."""
    value = declared.default
    if value is None or value is False or value == ():
        return ""
    return f"{value:g}" if isinstance(value, float) else "true" if value is True else str(value)


def render_help() -> str:
    """Return the text of ``--help``, without a newline at the end."""
    topics = [topic for topic in _topics() if topic.text]
    return "\n".join([_USAGE, *_grouped(topics), _REST, _examples(EXAMPLES)])


def render_search(subject: str) -> str:
    """Return what there is about all words of ``subject``, or words that begin so: built options first."""
    words = [re.compile(rf"\b{re.escape(word)}") for word in subject.lower().replace("-", " ").split()]
    found = [topic for topic in _topics() if all(word.search(topic.searched) for word in words)]
    rest = list(_catalog(words))
    if not found and not rest:
        names = [name for topic in _topics() for name in topic.names] + list(catalog.known())
        match = nearest(subject.lstrip("-"), names)
        hint = f"did you mean {match!r}?" if match else "--help lists all that are built"
        return f"no option is about {subject!r}; {hint}"
    flags = {dashed(name) for topic in found for name in topic.names}
    examples = [example for example in EXAMPLES if flags & {word.partition("=")[0] for word in example.split()}]
    return "\n".join([*_grouped(found), *rest, *([_examples(examples)] if examples else [])]).rstrip("\n")


@cache
def _topics() -> tuple[_Topic, ...]:
    """Return all there is to tell, in the order of ``--help``."""
    return (*_options(), *_words())


def _options() -> Iterator[_Topic]:
    for subsystem in groups():
        title = title_of(subsystem)
        for declared in declarations(subsystem):
            yield _topic(declared.flags, _placeholder(declared), _meaning(declared), title)


def _words() -> Iterator[_Topic]:
    letters = {word: letter for letter, word in SHORT.items()}
    for names, value, meaning in HELP:
        known = tuple(each for name in names for each in (name, letters.get(name, "")) if each)
        yield _topic(known, value, meaning, _CONFIG_TITLE)


def _topic(names: tuple[str, ...], value: str, meaning: str, title: str) -> _Topic:
    flags = ", ".join(map(dashed, names)) + (f" {value}" if value else "")
    searched = f"{' '.join(names)} {meaning} {title}".lower().replace("-", " ")
    return _Topic(names, title, f"{_filled(flags, '  ')}\n{_filled(meaning, _INDENT)}", searched)


def _catalog(words: list[re.Pattern[str]]) -> Iterator[str]:
    """Yield what a search finds in the rest of uWSGI's options."""
    for family in catalog.families():
        names = (option.name for option in family.options)
        found = [name for name in names if all(word.search(name.replace("-", " ")) for word in words)]
        if found:
            verdict = "accepted, without effect" if family.verdict == "no meaning" else "not supported"
            flags = _filled(", ".join(map(dashed, found)), "  ")
            yield f"{family.title}\n{flags}\n{_filled(f'{verdict}: {family.reason}', _INDENT)}\n"


def _grouped(topics: list[_Topic]) -> Iterator[str]:
    """Yield the texts of topics, with the title before the first of each group and a gap behind the last."""
    title = ""
    for topic in topics:
        if topic.title != title:
            yield f"\n{topic.title}" if title else topic.title
            title = topic.title
        yield topic.text
    if title:
        yield ""


def _examples(examples: tuple[str, ...] | list[str]) -> str:
    return "\n".join(["Examples", *(f"  {example}" for example in examples)])


def _filled(text: str, indent: str) -> str:
    return textwrap.fill(text, _WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


def _meaning(declared: Declaration) -> str:
    default = default_of(declared)
    return declared.help + (f" (default: {default})" if default else "") + (" (may be repeated)" * declared.repeat)


def _placeholder(declared: Declaration) -> str:
    if is_flag(declared):
        return ""
    if get_origin(declared.type) is Literal:
        return "|".join(get_args(declared.type))
    if declared.form is not None:
        return declared.form.example
    return declared.unit.upper() or ("N" if declared.type in (int, float) else "VALUE")
