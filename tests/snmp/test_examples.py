"""The example tells its numbers, and whoever looks at an instance sees what its agent has done."""

from __future__ import annotations

import json
import sys

from tests.command import ROOT, program, server
from tests.instance.stats_values import instance, read
from tests.snmp.manager import ask, query
from uwsgi_async.instance.statistics.document import decode, encode
from uwsgi_async.instance.statistics.prometheus import render
from uwsgi_async.options.stats import StatsOptions

COUNTS = {"in_pkts": 9, "out_pkts": 4, "in_bad_versions": 1, "in_bad_community_names": 2, "in_asn_parse_errs": 2}


def test_the_example_counts_and_tells() -> None:
    with program(sys.executable, "-u", str(ROOT / "examples/snmp.py")) as process:
        process.url = process.wait_for(r"http://\S+")[0]
        address = process.wait_for(r"snmpwalk -v2c -c public (\S+)")[1]
        assert process.get() == b"counted\n"
        told = query(address, ask("bulk", ["2"], numbers=(0, 2)))
        assert told.bindings == (("2.1", ("Counter64", 1)), ("2.40", ("Gauge32", 0)))


def test_the_statistics_have_the_agents_counts_in_every_form() -> None:
    told = encode(instance(sections={"snmp": COUNTS}), StatsOptions())
    assert json.loads(told)["snmp"] == COUNTS
    assert decode(told).sections["snmp"] == COUNTS
    text = render(instance(sections={"snmp": COUNTS}))
    for name, count in COUNTS.items():
        assert f"\nuwsgi_snmp_{name}_total {count}\n" in text
        assert f"# TYPE uwsgi_snmp_{name}_total counter\n" in text


def test_the_stats_server_tells_what_was_refused() -> None:
    words = ("--snmp=127.0.0.1:0", "--snmp-community", "public", "--stats", "127.0.0.1:0", "examples/hello.py")
    with server(*words) as process:
        agent = process.wait_for(r"SNMP server enabled on (\S+)")[1]
        stats = process.wait_for(r"Stats server enabled on (\S+)")[1]
        assert query(agent, ask("get", ["1.1"])).status == 0
        assert json.loads(read(stats))["snmp"]["out_pkts"] == 1
