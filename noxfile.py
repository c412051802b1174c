"""Sessions for developers and for CI: `nox -l` lists them. A newcomer needs only `make`."""

from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "venv"
nox.options.error_on_missing_interpreters = False
nox.options.sessions = ["tests", "lint", "types", "docs"]

PROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = ["3.11", "3.12", "3.13"]
OPTIONS_DOC = Path("docs/options.md")
FUZZ_SECONDS = "60"
FAULT_KILLS = "2000"  # some million operations


def install(session: nox.Session, *groups: str) -> None:
    """Install the package, editable, and the dependency groups of pyproject.toml."""
    session.install("--editable", ".", *nox.project.dependency_groups(PROJECT, *groups))


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests; arguments go to pytest."""
    install(session, "test")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check rules and format with ruff."""
    session.install(*nox.project.dependency_groups(PROJECT, "lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check types with mypy, strict."""
    install(session, "test", "lint")
    session.run("mypy")


@nox.session
def parity(session: nox.Session) -> None:
    """Compare with real uWSGI; CONTRIBUTING.md says how to get it."""
    install(session, "test")
    session.run("python", "-m", "pytest", "tests/parity", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure side by side with other servers; arguments go to the benchmarks."""
    install(session, "test", "bench")
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Check that docs/options.md is what the declarations of the options say."""
    install(session)
    made = session.run("python", "-m", "uwsgi_async.options", silent=True, stderr=None)
    if made != OPTIONS_DOC.read_text():
        session.error(f"{OPTIONS_DOC} is out of date: python -m uwsgi_async.options > {OPTIONS_DOC}")


@nox.session
def fuzz(session: nox.Session) -> None:
    """Fuzz each protocol; the argument is the seconds for each."""
    install(session, "test")
    seconds = session.posargs[0] if session.posargs else FUZZ_SECONDS
    for protocol in ("http", "uwsgi", "snmp", "websocket", "erlang"):
        session.run("python", "-m", f"tests.fuzz.{protocol}_fuzz", "--seconds", seconds)


@nox.session
def faults(session: nox.Session) -> None:
    """Kill processes that change shared state, or run tasks, for long; the argument is how many kills, and tasks."""
    install(session, "test")
    kills = session.posargs[0] if session.posargs else FAULT_KILLS
    environment = {"CACHE_KILLS": kills, "STATE_FAULTS": str(int(kills) / 50), "SPOOL_TASKS": kills}
    session.run("python", "-m", "pytest", "-s", "tests/state", "-k", "killed or faults", env=environment)
    session.run("python", "-m", "pytest", "tests/instance/test_spooler_faults.py", env=environment)
