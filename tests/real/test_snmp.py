"""Net-SNMP's own tools ask: snmpget, snmpwalk, snmpbulkwalk, and a snmpd in front that speaks v3; the MIB is read."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import uwsgi_async
from tests.command import ROOT
from tests.instance.test_snmp import Managed, managed
from tests.real.parts import require
from tests.real.test_nginx import started
from tests.snmp.manager import ask, free_port, query

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

BASE = ".1.3.6.1.4.1.35156.17"
MIB = Path(uwsgi_async.__file__).parent / "snmp/UWSGI-MIB.txt"
MIBS = Path(__file__).parent / "mibs"
PATIENCE = 20.0  # seconds


def tool(name: str, *words: str, status: int = 0) -> str:
    """Run a tool with the package's MIB and no other configuration; return what it prints."""
    places = {"MIBS": "UWSGI-MIB", "MIBDIRS": f"{MIB.parent}:{MIBS}", "SNMPCONFPATH": "/nonexistent"}
    environment = {**os.environ, **places}
    command = [require(name, "snmp"), *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    said = done.stdout + re.sub(r"^Created directory: .*\n", "", done.stderr, flags=re.MULTILINE)  # when it runs first
    assert done.returncode == status, said
    return said


def lines(name: str, version: str, it: Managed, *words: str) -> list[str]:
    """Ask by a tool, and return its lines, names below `BASE` in numbers: "2.40 = Gauge32: 7"."""
    told = tool(name, f"-v{version}", "-cpublic", "-On", "-r1", "-t10", it.address, *words)
    return [line.removeprefix(f"{BASE}.") for line in told.splitlines()]


@pytest.fixture(scope="module")
def it(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Managed]:
    with managed(tmp_path_factory.mktemp("snmp"), "--enable-metrics", "--processes", "2", "--async", "30") as it:
        it.call("snmp_set_counter32", 2, 2**32 - 1)
        it.call("snmp_set_counter64", 3, 2**64 - 1)
        it.call("snmp_set_gauge", 40, 7)
        yield it


CUSTOM = ["2.1 = Gauge32: 5", f"2.2 = Counter32: {2**32 - 1}", f"2.3 = Counter64: {2**64 - 1}", "2.40 = Gauge32: 7"]


@pytest.mark.parametrize("version", ["1", "2c"])
def test_snmpget_gets_several_at_once(it: Managed, version: str) -> None:
    assert lines("snmpget", version, it, f"{BASE}.2.40", f"{BASE}.2.2") == [CUSTOM[3], CUSTOM[1]]


def test_snmpget_says_why_something_is_not_there(it: Managed) -> None:
    assert lines("snmpget", "2c", it, f"{BASE}.2.41", f"{BASE}.2.200") == [
        "2.41 = No Such Instance currently exists at this OID",
        "2.200 = No Such Object available on this agent at this OID",
    ]
    told = tool("snmpget", "-v1", "-cpublic", "-On", it.address, f"{BASE}.2.41", status=2)
    assert "(noSuchName)" in told


def test_snmpwalk_finds_all_of_the_apps_numbers(it: Managed) -> None:
    assert lines("snmpwalk", "2c", it, f"{BASE}.2") == CUSTOM
    assert lines("snmpwalk", "1", it, f"{BASE}.2") == [line for line in CUSTOM if "Counter64" not in line]


def test_snmpwalk_and_snmpbulkwalk_find_the_same_whole_tree(it: Managed) -> None:
    def names(*words: str) -> list[str]:
        *found, end = lines(words[0], "2c", it, *words[1:])
        assert "No more variables left in this MIB View" in end
        return [line.partition(" = ")[0] for line in found]

    walked = names("snmpwalk", BASE)
    assert len(walked) > 2 * 30 * 7  # workers, cores, and what is counted of each
    for words in (("-Cr1", BASE), ("-Cr10", BASE), ("-Cr1000", BASE), (".1.3",)):
        assert names("snmpbulkwalk", *words) == walked


def test_snmpset_is_refused(it: Managed) -> None:
    told = tool("snmpset", "-v2c", "-cpublic", it.address, f"{BASE}.2.40", "u", "1", status=2)
    assert "notWritable" in told
    assert lines("snmpget", "2c", it, f"{BASE}.2.40") == [CUSTOM[3]]


@pytest.mark.parametrize("words", [("-v2c", "-cwrong"), ("-v3", "-lnoAuthNoPriv", "-unobody")], ids=["community", "v3"])
def test_a_wrong_community_and_v3_get_no_answer(it: Managed, words: tuple[str, ...]) -> None:
    told = tool("snmpget", *words, "-r0", "-t0.3", it.address, f"{BASE}.2.40", status=1)
    assert "No Response" in told or "Timeout" in told


def test_names_of_the_mib_can_be_asked_for(it: Managed) -> None:
    told = tool("snmpget", "-v2c", "-cpublic", it.address, "UWSGI-MIB::uwsgiRequests", "UWSGI-MIB::uwsgiCustom.40")
    assert re.search(r"^UWSGI-MIB::uwsgiRequests = Counter64: \d+ requests$", told, re.MULTILINE)
    assert "UWSGI-MIB::uwsgiCustom.40 = Gauge32: 7" in told


def test_every_general_object_has_a_name_in_the_mib() -> None:
    wanted = {"uwsgiRequests": "1.1", "uwsgiCustom": "2", "uwsgiBusyWorkers": "5.3", "uwsgiTotalRunningTime": "5.104"}
    wanted |= {f"uwsgiWorker{worker}Requests": f"1.{30 + worker}" for worker in range(1, 71)}
    told = tool("snmptranslate", "-On", *(f"UWSGI-MIB::{name}" for name in wanted))
    assert told.split() == [f"{BASE}.{below}" for below in wanted.values()]


def test_the_mib_is_one_without_a_mistake() -> None:
    assert complaints(MIB) == []


def test_a_mistake_in_the_mib_would_be_found(tmp_path: Path) -> None:
    (tmp_path / "UWSGI-MIB.txt").write_text(MIB.read_text().replace("uwsgiCustom OBJECT", "uwsgi_custom OBJECT"))
    assert complaints(tmp_path / "UWSGI-MIB.txt") != []


def complaints(mib: Path) -> list[str]:
    """Return what smilint says of a MIB, but for what it says of the module that stands in for the IETF's."""
    smilint = require("smilint", "smitools")
    command = [smilint, "-l3", "-s", "-m", "-p", str(MIBS / "SNMPv2-SMI.txt"), str(mib)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return [line for line in (done.stdout + done.stderr).splitlines() if "SNMPv2-SMI.txt" not in line]


# --- behind snmpd ---------------------------------------------------------------------------------------------------


@contextmanager
def behind_snmpd(it: Managed, place: Path) -> Iterator[str]:
    """Run a snmpd with the configuration of the page, and a community of its own besides; yield its address."""
    snmpd, port = require("snmpd", "snmpd"), free_port()
    (of_page,) = re.findall(r"```\n(createUser.*?)```", (ROOT / "docs/snmp.md").read_text(), re.DOTALL)
    assert "127.0.0.1:1161" in of_page
    own = f"agentAddress udp:127.0.0.1:{port}\nrocommunity outside 127.0.0.1 {BASE}\n"
    (place / "snmpd.conf").write_text(own + of_page.replace("127.0.0.1:1161", it.address))
    command = [snmpd, "-f", "-Lo", "-C", "-c", str(place / "snmpd.conf"), "-I", "-smux", "-p", str(place / "pid")]
    environment = ["env", f"SNMP_PERSISTENT_DIR={place}/persistent", "MIBS=", *command]
    with started(environment, place / "snmpd.log"):
        deadline = time.monotonic() + PATIENCE
        while "NET-SNMP version" not in (place / "snmpd.log").read_text():
            assert time.monotonic() < deadline, (place / "snmpd.log").read_text()
            time.sleep(0.05)
        yield f"127.0.0.1:{port}"


V3 = ("-v3", "-lauthPriv", "-ureader", "-aSHA-256", "-Aa long secret", "-xAES", "-Xanother secret")


def test_a_snmpd_in_front_tells_the_same_by_v2c_and_by_v3_with_user_security(it: Managed, tmp_path: Path) -> None:
    with behind_snmpd(it, tmp_path) as address:
        for who in (("-v2c", "-coutside"), V3):
            told = tool("snmpget", *who, "-On", "-r2", "-t5", address, f"{BASE}.2.40", f"{BASE}.2.3")
            assert told.splitlines() == [f"{BASE}.{line}" for line in (CUSTOM[3], CUSTOM[2])]
            walked = tool("snmpbulkwalk", *who, "-On", "-r2", "-t5", address, f"{BASE}.2")
            assert walked.splitlines() == [f"{BASE}.{line}" for line in CUSTOM]
        wrong = tool("snmpget", *V3[:-1], "-Xsome other secret", "-r0", "-t1", address, f"{BASE}.2.40", status=1)
        assert "Gauge32" not in wrong


# --- docs/snmp.md ---------------------------------------------------------------------------------------------------


def test_the_session_of_the_page_can_be_pasted_into_a_shell(tmp_path: Path) -> None:
    """The commands of the page run as they stand, in one shell, with its app; only the ports are others."""
    require("snmpget", "snmp")
    page = (ROOT / "docs/snmp.md").read_text()
    (app,) = re.findall(r"```python\n# app.py\n(.*?)```", page, re.DOTALL)
    session = re.findall(r"```console\n(.*?)```", page, re.DOTALL)[0]
    (tmp_path / "app.py").write_text(app)
    http, agent = (str(free_port()) for _ in range(2))
    commands, expected = [], []
    for line in session.splitlines():
        if line.startswith("$ "):
            commands.append(line[2:].replace("8000", http).replace("1161", agent))
        else:
            expected.append(re.escape(line).replace("21806", r"\d+"))
    path = f"{Path(shutil.which('uwsgi-async') or ROOT / '.venv/bin/uwsgi-async').parent}:{os.environ['PATH']}"
    try:
        done = subprocess.run(
            ["bash", "-e", "-c", "\n".join(commands)],
            cwd=tmp_path,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            timeout=60,
        )
    finally:
        with suppress(OSError, ValueError):  # the session has ended it, as it should
            os.kill(int((tmp_path / "app.pid").read_text()), signal.SIGKILL)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch("\n".join(expected), done.stdout.rstrip()), done.stdout
    with pytest.raises(OSError, match="refused"):
        query(f"127.0.0.1:{agent}", ask("get", ["1.1"]))  # the session has stopped what it has started
