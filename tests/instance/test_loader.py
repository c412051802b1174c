"""Loading: which module, which name in it, in which order, and what is said when it is not there."""

from __future__ import annotations

import logging
import os
import sys
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from uwsgi_async.compat.uwsgi_module import UwsgiModule, installed
from uwsgi_async.errors import AppLoadError
from uwsgi_async.instance.importing import module_name
from uwsgi_async.instance.loader import load_apps, prepare
from uwsgi_async.options.build import build

APP = """
def make(name):
    def application(environ, start_response):
        return name
    return application

application = make("application")
other = make("other")
number = 7

def factory():
    return make("made")

def broken_factory():
    raise KeyError("no")
"""


@pytest.fixture(autouse=True)
def _interpreter_as_it_was(tmp_path: Path) -> Iterator[None]:
    before = sys.path[:], sys.argv, sys.prefix, sys.exec_prefix, sys.executable
    yield
    path, sys.argv, sys.prefix, sys.exec_prefix, sys.executable = before
    sys.path[:] = path
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with an app, which is the working one."""
    (tmp_path / "mod.py").write_text(APP)
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "__init__.py").write_text(APP)
    (tmp_path / "pkg" / "inner.py").write_text(APP)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(**options: Any) -> dict[str, Any]:
    """The apps by their mountpoints; each one's name for itself."""
    module = UwsgiModule("uwsgi")
    built = build(**options)
    with installed(module):
        prepare(built.load)
        return {mountpoint: app(None, None) for mountpoint, app in load_apps(built, module).items()}


def refusal(**options: Any) -> str:
    with pytest.raises(AppLoadError) as caught:
        load(**options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"module": "mod"}, "application"),
        ({"module": "mod:other"}, "other"),
        ({"module": "mod", "callable": "other"}, "other"),
        ({"module": "mod:factory()"}, "made"),
        ({"module": "mod", "callable": "factory()"}, "made"),
        ({"module": "pkg.inner:other"}, "other"),
        ({"wsgi_file": "mod.py"}, "application"),
        ({"wsgi_file": "mod.py", "callable": "other"}, "other"),
        ({"wsgi_file": "pkg"}, "application"),
    ],
)
def test_one_app_is_at_the_root(options: dict[str, str], expected: str) -> None:
    assert load(**options) == {"": expected}


def test_a_file_may_have_any_name(place: Path) -> None:
    (place / "site.wsgi").write_text(APP)
    (place / "no suffix").write_text(APP)
    assert load(wsgi_file="site.wsgi") == load(wsgi_file="no suffix") == {"": "application"}


@pytest.mark.parametrize(
    ("path", "name"),
    [("app.py", "app"), ("./a/app.py", "__a_app"), ("/srv/app.wsgi", "_srv_app_wsgi"), ("app_py", "app")],
)
def test_the_module_of_a_file_is_called_as_under_uwsgi(path: str, name: str) -> None:
    assert module_name(path) == name


def test_a_file_finds_what_stands_beside_the_working_directory(place: Path) -> None:
    (place / "app.py").write_text("import mod\napplication = mod.other")
    assert load(wsgi_file="app.py") == {"": "other"}


def test_mounts_follow_in_their_order() -> None:
    mounts = ["/a=mod:other", "/b=mod.py", "/c=mod:factory()", "/d=mod.py:other", "/e=mod"]
    assert list(load(module="mod", mount=mounts).items()) == [
        ("", "application"),
        ("/a", "other"),
        ("/b", "application"),
        ("/c", "made"),
        ("/d", "other"),
        ("/e", "application"),
    ]


def test_a_mountpoint_is_taken_once(caplog: pytest.LogCaptureFixture) -> None:
    assert load(module="mod", wsgi_file="mod.py", mount=["/a=mod:other", "/a=mod"]) == {
        "": "application",
        "/a": "other",
    }
    assert "mountpoint /a already configured. skip." in caplog.text


@pytest.mark.parametrize("keys", ["{'': 'application', '/o': other}", "{b'': application, b'/o': b'other'}"])
@pytest.mark.parametrize("assignment", ["applications = ", "import uwsgi\nuwsgi.applications = "])
def test_applications_give_mountpoints(place: Path, keys: str, assignment: str) -> None:
    (place / "many.py").write_text(APP + assignment + keys)
    assert load(module="many") == {"": "application", "/o": "other"}


def test_a_file_is_asked_for_its_callable_first_and_then_for_applications(place: Path) -> None:
    (place / "many.py").write_text(APP + "applications = {'/o': other}")
    assert load(wsgi_file="many.py") == {"": "application"}
    assert load(wsgi_file="many.py", callable="none") == {"/o": "other"}


def test_applications_of_one_module_are_not_those_of_the_next(place: Path) -> None:
    (place / "many.py").write_text(APP + "import uwsgi\nuwsgi.applications = {'/o': other}")
    assert load(module="many", mount="/m=mod") == {"/o": "other", "/m": "application"}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "there is no app: name one with --wsgi-file app.py, --module"),
        ({"module": "nothing"}, "the module 'nothing' raised ModuleNotFoundError: No module named 'nothing'"),
        ({"wsgi_file": "nothing.py"}, "there is no file 'nothing.py' (looked in "),
        ({"wsgi_file": "empty"}, "there is no file 'empty/__init__.py' (looked in "),
        ({"module": "mod:nothing"}, "mod has no 'nothing'; it has application, broken_factory, factory, make, other: "),
        ({"module": "mod:number"}, "'number' in mod is not callable but int"),
        ({"module": "mod:broken_factory()"}, "broken_factory() in mod raised KeyError: 'no'"),
        ({"module": "bad_dict"}, "an app in the applications of bad_dict is not callable but int"),
        ({"module": "bad_key"}, "the app mountpoint must be a string, not int"),
        ({"module": "no_apps"}, "you have to define at least one app in the applications dictionary of 'no_apps'"),
        ({"wsgi_file": "broken.py"}, "the file 'broken.py' raised SyntaxError: "),
        ({"module": "mod", "imports": "nothing"}, "the module 'nothing' raised ModuleNotFoundError"),
        ({"module": "mod", "shared_imports": "./no.py"}, "there is no file './no.py'"),
        ({"module": "mod", "home": "nothing"}, "home: there is no directory "),
        ({"module": "mod", "home": "empty"}, "is no virtual environment: there is no directory "),
        ({"module": "mod", "home": "old"}, "was made for python3.4, but this is Python 3."),
    ],
)
def test_what_cannot_be_loaded_is_told_in_a_sentence(place: Path, options: dict[str, str], sentence: str) -> None:
    (place / "empty").mkdir()
    (place / "old" / "lib" / "python3.4").mkdir(parents=True)
    (place / "bad_dict.py").write_text("applications = {'/': 7}")
    (place / "bad_key.py").write_text("applications = {7: print}")
    (place / "no_apps.py").write_text("applications = {}")
    (place / "broken.py").write_text("def (")
    assert sentence in refusal(**options)


def test_a_module_that_failed_is_tried_anew(place: Path) -> None:
    (place / "late.py").write_text("import no_such_library")
    refusal(wsgi_file="late.py")
    assert "uwsgi_file_late" not in sys.modules


def test_without_need_app_what_fails_is_logged_and_left_out(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    (place / "broken.py").write_text("1 / 0")
    options = {"module": "broken", "mount": ["/a=mod:other", "/b=broken.py"], "imports": "broken", "need_app": False}
    assert load(**options) == {"/a": "other"}
    assert "ZeroDivisionError: division by zero" in caplog.text
    assert "unable to load app 0 (mountpoint='') (callable not found or import error)" in caplog.text
    assert "unable to load app 1 (mountpoint='/b')" in caplog.text


@pytest.mark.parametrize("options", [{"need_app": False}, {"check_static": "/"}])
def test_an_instance_may_do_without_any_app(options: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    assert load(**options) == {}
    assert "*** no app loaded: what is no static file is answered with 500 ***" in caplog.text


def test_each_app_is_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "uwsgi_async")
    load(mount=["/a=mod:other", "/b=mod"])
    assert f"WSGI app 0 (mountpoint='/a') ready in 0 seconds pid: {os.getpid()} (default app)" in caplog.text
    assert f"WSGI app 1 (mountpoint='/b') ready in 0 seconds pid: {os.getpid()}\n" in caplog.text


def test_shared_imports_come_first_then_imports_then_apps(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "order", order := [], raising=False)
    for name in ("shared", "one", "two", "app", "mounted"):
        (place / f"{name}.py").write_text("import sys\nsys.order.append(__name__)\napplication = lambda *_: 1")
    load(
        mount="/m=mounted.py",
        module="app",
        imports=["one", "./two.py"],
        shared_imports=["shared", "shared.py"],
    )
    assert order == ["shared", "shared", "one", "__two", "app", "uwsgi_file_mounted"]


def test_the_import_path_begins_as_under_uwsgi(place: Path) -> None:
    for name in ("one", "two", "glob/x", "glob/y"):
        (place / name).mkdir(parents=True)
    prepare(build(pythonpath=["one", "two", "glob/*", "none"]).load)
    assert sys.path[:6] == [str(place / name) for name in ("none", "glob/y", "glob/x", "two", "one", ".")]


def test_the_import_path_knows_a_pythonpath_of_the_option_env(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", f"/late{os.pathsep}{sys.path[-1]}")
    prepare(build().load)
    assert sys.path[:2] == [str(place), "/late"]
    assert sys.path.count(sys.path[-1]) == 1


@pytest.mark.parametrize(("pyargv", "argv"), [("", ["uwsgi"]), (" -v\tx 'y z' ", ["uwsgi", "-v", "x", "'y", "z'"])])
def test_pyargv_is_split_at_blanks(pyargv: str, argv: list[str]) -> None:
    prepare(build(pyargv=pyargv).load)
    assert sys.argv == argv


def test_a_virtual_environment_gives_its_libraries(place: Path) -> None:
    venv.create(place / "home", with_pip=False, symlinks=True)
    library = next((place / "home" / "lib").glob("python*/site-packages"))
    (library / "only_there.py").write_text(APP)
    (library / "more.pth").write_text(str(place / "extra"))
    (place / "extra").mkdir()
    (place / "extra" / "from_pth.py").write_text(APP)
    assert load(home="home", module="only_there", mount="/p=from_pth:other") == {"": "application", "/p": "other"}
    assert sys.prefix == sys.exec_prefix == str(place / "home")
    assert sys.executable == str(place / "home" / "bin" / "python")


def test_the_libraries_of_a_virtual_environment_come_before_the_servers_own(place: Path) -> None:
    venv.create(place / "home", with_pip=False, symlinks=True)
    library = next((place / "home" / "lib").glob("python*/site-packages"))
    (library / "hypothesis").mkdir()
    (library / "hypothesis" / "__init__.py").write_text(APP)
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "hypothesis"}
    try:
        assert load(home="home", module="hypothesis:other") == {"": "other"}
    finally:
        sys.modules.update(before)
