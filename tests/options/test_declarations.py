import dataclasses
import re
from collections import Counter
from pathlib import Path

import pytest

import uwsgi_async
from uwsgi_async.options.build import by_field, subsystems
from uwsgi_async.options.declare import Declaration, declarations
from uwsgi_async.options.docs import render_docs
from uwsgi_async.options.settings import Configuration, Options
from uwsgi_async.options.values import from_object, from_text, is_flag

ALL = [declared for subsystem in subsystems().values() for declared in declarations(subsystem)]

each = pytest.mark.parametrize("declared", ALL, ids=lambda declared: declared.field)


def test_each_flag_belongs_to_one_option() -> None:
    assert [
        flag for flag, count in Counter(flag for declared in ALL for flag in declared.flags).items() if count > 1
    ] == []


def test_each_field_name_belongs_to_one_option() -> None:
    assert len(by_field()) == len(ALL)


def test_each_field_of_options_is_a_subsystem() -> None:
    assert list(subsystems()) == [field.name for field in dataclasses.fields(Options)]


@each
def test_each_option_has_flags_and_help(declared: Declaration) -> None:
    assert declared.flags or declared.subsystem is Configuration
    assert not any(flag.startswith("-") for flag in declared.flags)
    assert declared.help
    assert not declared.help.endswith(".")


@each
def test_each_default_is_a_value_that_the_option_accepts(declared: Declaration) -> None:
    assert from_object(declared, declared.default, declared.field) == declared.default


@each
def test_each_number_has_a_range_and_nothing_else_has(declared: Declaration) -> None:
    assert (declared.minimum is not None) == (declared.type in (int, float, tuple[int, ...]))
    assert declared.maximum is None or declared.minimum is not None


@each
def test_each_default_reads_back_from_its_text(declared: Declaration) -> None:
    if declared.default is None or declared.repeat:
        return
    value = from_text(declared, str(declared.default), declared.field)
    assert value == declared.default
    assert type(value) is type(declared.default)
    assert is_flag(declared) == isinstance(declared.default, bool)


def test_docs_options_md_is_current() -> None:
    docs = Path(__file__).parents[2] / "docs" / "options.md"
    assert docs.read_text() == render_docs(), "run: python -m uwsgi_async.options > docs/options.md"


def test_all_options_together_are_known_where_an_instance_is_put_together_only() -> None:
    root = Path(uwsgi_async.__file__).parent
    knowing = {
        path.relative_to(root).parts[0]
        for path in root.rglob("*.py")
        if re.search(r"^from uwsgi_async.options.settings import .*\bOptions\b", path.read_text(), re.MULTILINE)
    }
    assert knowing <= {"__init__.py", "cli.py", "commands", "instance", "options"}
