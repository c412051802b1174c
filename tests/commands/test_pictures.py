"""What `ps` and `top` show of fixed statistics."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.console import Console

from tests.instance.signal_values import signal_section
from tests.instance.stats_values import core, instance, worker
from uwsgi_async import InstanceStatistics
from uwsgi_async.commands.table import age, render_processes, size
from uwsgi_async.commands.top import frame, watch
from uwsgi_async.errors import BrokenError

NOW = 1_700_003_725.0

PS = """\
PROCESS      PID  STATE    REQUESTS  BUSY    RSS    AGE
master       100  serving                  20.0M  1h02m
fork server  150  waiting                  25.0M  1h02m
worker 1     101  busy            3     1  30.0M  1h02m
worker 2     102  idle            0     0      0  1h02m"""

TOP = """\
uwsgi_async 1.0  pid 100  serving, up 1h02m, 1 reloads  /srv/app
requests 3  1 req/s  tx 2.0K  listen queue 5  http 127.0.0.1:8000
WID PID STATUS REQ REQ/S     AVG CORES CONN WAIT   LAG EXC HC SPAWN   RSS   TX
  1 101 busy     3     1 500.0ms   1/2    4    2 1.2ms   1  1     1 30.0M 2.0K
  2 102 idle     0     0   0.0ms   0/2    0    0 0.0ms   0  0     1     0    0
CORE RUNS CLIENT    REQUEST
1:1  2.5s 192.0.2.7 GET example.org/slow?a=b
"""


def drawn(statistics: InstanceStatistics, before: InstanceStatistics, seconds: float, width: int = 120) -> str:
    console = Console(width=width, force_terminal=False)
    with console.capture() as capture:
        console.print(frame(statistics, before, seconds, NOW))
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"


def test_ps_is_a_table_of_the_processes() -> None:
    assert render_processes(instance(), NOW) == PS


def test_a_frame_shows_workers_and_the_requests_that_run() -> None:
    before = instance(workers=tuple(replace(each, requests=0) for each in instance().workers))
    assert drawn(instance(), before, 3.0) == TOP


def test_a_frame_shows_what_the_snmp_agent_has_done() -> None:
    counts = {
        "in_pkts": 9, "out_pkts": 4, "in_bad_versions": 1, "in_bad_community_names": 2, "in_asn_parse_errs": 2,
    }  # fmt: skip
    lines = drawn(instance(sections={"snmp": counts}), instance(), 1.0).splitlines()
    assert "snmp 9 datagrams  4 answered  5 refused" in lines


def test_a_frame_shows_the_mules() -> None:
    mule = {
        "id": 1, "pid": 110, "program": "work.py", "farms": ["web"], "status": "busy", "messages": 7, "signals": 2,
        "exceptions": 1, "respawn_count": 0, "last_spawn": 0, "rss": 3 << 20, "vsz": 0, "waiting": 2048,
    }  # fmt: skip
    lines = drawn(instance(sections={"mules": [mule]}), instance(), 1.0).splitlines()
    assert "MID PID STATUS MSG SIG QUEUE EXC SPAWN  RSS MULE" in lines
    assert "  1 110 busy     7   2  2.0K   1     1 3.0M work.py  web" in lines


def test_a_frame_shows_the_spoolers() -> None:
    spooler = {
        "dir": "/var/spool/\x1b[2J", "pid": 120, "tasks": 9, "respawns": 1, "running": 2, "done": 8, "failed": 4,
        "given_up": 3, "waiting": 5,
    }  # fmt: skip
    gone = {**spooler, "pid": 0, "dir": "/var/spool/b", "running": 0, "waiting": 0}
    lines = drawn(instance(sections={"spoolers": [spooler, gone]}), instance(), 1.0).splitlines()
    assert "SID PID RUN WAIT DONE FAIL DEAD SPAWN SPOOLER" in lines
    assert "  1 120   2    5    8    4    3     1 /var/spool/?[2J" in lines
    assert "  2   -   0    0    8    4    3     1 /var/spool/b" in lines


SIGNALS = """\
signals 9  lost 1  waiting 3  worker2 2  worker 1
SIG RAISED BY              RUNS  LAST TARGET  HANDLED  LAST FAILED LAST ERROR
  0 timer 5 s                 2    5s worker        2    5s      0 -
  0 timer 5 s                 1   10s worker        2    5s      0 -
  0 cron 30 3 -1 -1 -1        0     - worker        2    5s      0 -
  1 rb_timer 0.5 s 3 times    3 1m10s worker2       6 1m00s      4 1m00s ago: RuntimeError: [red]no? luck
  1 file /etc/app.conf        3 2h00m worker2       6 1m00s      4 1m00s ago: RuntimeError: [red]no? luck
  1 probe 10.0.0.2:3031       0     - worker2       6 1m00s      4 1m00s ago: RuntimeError: [red]no? luck
  9 -                         -     - -             1 1h00m      0 -
"""


def test_a_frame_shows_what_happens_without_a_request() -> None:
    statistics = instance(sections={"signals": signal_section(NOW)})
    assert drawn(statistics, statistics, 1.0).endswith(SIGNALS)


def test_of_many_timers_the_last_to_run_are_shown() -> None:
    section = signal_section(NOW)
    [timer, *_] = section["sources"]
    section["sources"] = [{**timer, "last": NOW - age} for age in range(100, 0, -1)]
    lines = drawn(statistics := instance(sections={"signals": section}), statistics, 1.0).splitlines()
    assert len([line for line in lines if "timer 5 s" in line]) == 20
    assert "and 82 more rows" in lines[lines.index(next(line for line in lines if line.startswith("SIG "))) - 1]


def test_what_is_no_statistics_of_signals_is_an_error_with_a_sentence() -> None:
    with pytest.raises(BrokenError, match="expected statistics of signals"):
        drawn(instance(sections={"signals": {"signals": 1}}), instance(), 1.0)


def test_a_rate_that_cannot_be_told_is_a_dash() -> None:
    more = instance(workers=(worker(1, requests=100), worker(2)))
    assert "  - req/s" in drawn(instance(), more, 1.0)  # a reload counts anew
    assert "  - req/s" in drawn(instance(), instance(), 0.0)


def test_the_requests_that_run_for_longest_come_first_and_not_too_many() -> None:
    cores = tuple(core(number, state="busy", running=float(number), uri=f"/{number}") for number in range(30))
    lines = drawn(instance(workers=(worker(1, cores=cores),)), instance(), 1.0).splitlines()
    assert lines[5].split()[:2] == ["1:29", "29.0s"]
    assert "and 10 more" in lines[-1]


def test_a_request_cannot_draw_with_markup_or_escapes() -> None:
    evil = core(0, state="busy", running=1.0, uri="/[red]x[/red]\x1b[2J", vars={"REQUEST_METHOD": "GET"})
    picture = drawn(instance(workers=(worker(1, cores=(evil,)),)), instance(), 1.0)
    assert "[red]x[/red]" in picture
    assert "\x1b" not in picture


def test_a_narrow_terminal_gets_a_narrow_frame() -> None:
    assert max(map(len, drawn(instance(), instance(), 1.0, width=60).splitlines())) <= 60


def test_without_a_terminal_one_frame_is_printed() -> None:
    console = Console(width=120, force_terminal=False)
    with console.capture() as capture:
        watch(instance, console, 1.0)
    assert capture.get().count("WID") == 1


def test_in_a_terminal_frame_follows_frame_until_it_is_interrupted() -> None:
    console = Console(width=120, height=20, force_terminal=True)
    reads = 0

    def read() -> InstanceStatistics:
        nonlocal reads
        reads += 1
        if reads > 3:
            raise KeyboardInterrupt
        return instance()

    with console.capture() as capture, pytest.raises(KeyboardInterrupt):
        watch(read, console, 0.001)
    assert capture.get().count("WID") == 3


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0"), (1023, "1023"), (1024, "1.0K"), (31 << 20, "31.0M"), (1 << 50, "1024.0T")]
)
def test_a_size_is_told_in_the_largest_unit(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(-1, "0s"), (59.9, "59s"), (61, "1m01s"), (7500, "2h05m"), (90_000, "1d01h")]
)
def test_an_age_is_told_in_its_two_largest_units(seconds: float, text: str) -> None:
    assert age(seconds) == text
