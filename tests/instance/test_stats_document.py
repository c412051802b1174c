"""What is made of the statistics: uWSGI's JSON and Prometheus' text."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.instance.signal_values import signal_section
from tests.instance.stats_values import core, instance, worker
from uwsgi_async.errors import PeerError
from uwsgi_async.instance.statistics.document import decode, document, encode
from uwsgi_async.instance.statistics.prometheus import render
from uwsgi_async.options.stats import StatsOptions

NOW = 1_700_003_725.0

# pkg/collector/exporter.go of timonwong/uwsgi_exporter.
EXPORTED = {
    "uwsgi_cache_": "hits misses full items max_items",
    "uwsgi_": ("listen_queue_length listen_queue_errors signal_queue_length workers "),
    "uwsgi_socket_": ("queue_length max_queue_length shared can_offload "),
    "uwsgi_worker_": (
        "accepting delta_requests signal_queue_length rss_bytes vsz_bytes running_time_seconds "
        "last_spawn_time_seconds average_response_time_seconds apps cores requests_total "
        "exceptions_total harakiri_count_total signals_total respawn_count_total "
        "transmitted_bytes_total busy idle cheap "
    ),
    "uwsgi_worker_app_": ("startup_time_seconds requests_total exceptions_total "),
    "uwsgi_worker_core_": (
        "busy requests_total static_requests_total routed_requests_total offloaded_requests_total "
        "write_errors_total read_errors_total "
    ),
}


def samples(text: str) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Return the values by name and labels, as Prometheus' own library reads them."""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def test_what_is_told_can_be_read_back() -> None:
    statistics = instance()
    assert decode(encode(statistics, StatsOptions())) == statistics


def test_the_json_of_real_uwsgi_can_be_read() -> None:
    told = document(instance())
    for key in ("software", "state", "started", "reloads", "failed_reloads", "processes"):
        del told[key]
    for each in told["workers"]:
        for key in ("ready", "busy", "connections", "waiting", "longest_wait", "loop_lag"):
            del each[key]
    read = decode(json.dumps(told).encode())
    assert (read.software, read.state, read.workers[0].busy) == ("uWSGI 2.0.31", "serving", 1)


@pytest.mark.parametrize("text", [b"", b"hello", b"[]", b"{}", b'{"version": 1}', b"null", b"\xff"])
def test_what_is_no_statistics_is_refused_with_a_sentence(text: bytes) -> None:
    with pytest.raises(PeerError, match="expected the statistics"):
        decode(text)


def test_a_busy_core_shows_its_vars_as_uwsgi_does() -> None:
    shown = document(instance())["workers"][0]["cores"][1]
    assert shown["vars"][:2] == ["REQUEST_METHOD=GET", "REQUEST_URI=/slow?a=b"]
    assert shown["vars"][-1] == ""
    assert shown["req_info"]["request_start"] == 1_700_000_100


def test_cores_can_be_left_out_of_the_json() -> None:
    told = json.loads(encode(instance(), StatsOptions(stats_no_cores=True)))
    assert "cores" not in told["workers"][0]


def test_metrics_can_be_left_out_of_the_json() -> None:
    assert json.loads(encode(instance(), StatsOptions()))["metrics"]["orders"]["value"] == 42
    assert "metrics" not in json.loads(encode(instance(), StatsOptions(stats_no_metrics=True)))


def test_metrics_can_be_left_out_of_the_exposition() -> None:
    assert samples(render(instance()))["uwsgi_metric"] == {(("name", "orders"),): 42}
    assert "uwsgi_metric" not in samples(render(instance(), metrics=False))


def test_the_state_of_the_instance_stands_where_uwsgi_has_it() -> None:
    keys = list(document(instance()))
    assert keys[keys.index("locks") : keys.index("workers")] == ["locks", "caches", "metrics", "sockets"]
    assert "caches" not in document(instance(sections={}))


def test_minified_json_has_no_blanks() -> None:
    text = encode(instance(), StatsOptions(stats_minified=True)).decode()
    assert text == json.dumps(json.loads(text), separators=(",", ":"))


def test_prometheus_has_every_name_of_uwsgi_exporter() -> None:
    lines = render(instance()).splitlines()
    found = {line.split("{")[0].split(" ")[0] for line in lines if not line.startswith("#")}
    wanted = {prefix + name for prefix, names in EXPORTED.items() for name in names.split()}
    assert wanted - found == set()


@pytest.mark.parametrize(
    ("name", "labels", "value"),
    [
        ("uwsgi_workers", {}, 2),
        ("uwsgi_ready", {}, 1),
        ("uwsgi_listen_queue_length", {}, 5),
        ("uwsgi_socket_max_queue_length", {"name": "127.0.0.1:8000", "proto": "http"}, 100),
        ("uwsgi_worker_requests_total", {"worker_id": "1"}, 3),
        ("uwsgi_worker_running_time_seconds", {"worker_id": "1"}, 1.5),
        ("uwsgi_worker_average_response_time_seconds", {"worker_id": "1"}, 0.5),
        ("uwsgi_worker_respawn_count_total", {"worker_id": "1"}, 1),
        ("uwsgi_worker_busy", {"worker_id": "1"}, 1),
        ("uwsgi_worker_idle", {"worker_id": "1"}, 0),
        ("uwsgi_worker_busy", {"worker_id": "2"}, 0),
        ("uwsgi_worker_loop_lag_seconds", {"worker_id": "1"}, 0.0012),
        ("uwsgi_worker_core_busy", {"worker_id": "1", "core_id": "1"}, 1),
        ("uwsgi_worker_core_read_errors_total", {"worker_id": "1", "core_id": "1"}, 2),
    ],
)
def test_prometheus_has_the_numbers_in_its_units(name: str, labels: dict[str, str], value: float) -> None:
    assert samples(render(instance()))[name][tuple(sorted(labels.items()))] == value


@pytest.mark.parametrize(
    ("name", "labels", "value"),
    [
        ("uwsgi_signals_routed_total", {}, 9),
        ("uwsgi_signals_unrouted_total", {}, 1),
        ("uwsgi_signal_queue_length", {}, 3),
        ("uwsgi_signal_target_queue_length", {"target": "worker2"}, 2),
        ("uwsgi_worker_signal_queue_length", {"worker_id": "2"}, 2),
        ("uwsgi_signal_handled_total", {"signal": "1", "target": "worker2"}, 6),
        ("uwsgi_signal_failed_total", {"signal": "1", "target": "worker2"}, 4),
        ("uwsgi_signal_last_time_seconds", {"signal": "0", "target": ""}, NOW - 5),
        ("uwsgi_signal_failure_time_seconds", {"signal": "1", "target": "worker2"}, NOW - 60),
        ("uwsgi_signal_source_runs_total", {"signal": "0", "source": "timer 5 s"}, 3),  # two of them together
        ("uwsgi_signal_source_last_time_seconds", {"signal": "1", "source": "file /etc/app.conf"}, NOW - 7200),
    ],
)
def test_prometheus_has_signals_and_what_raises_them(name: str, labels: dict[str, str], value: float) -> None:
    statistics = instance(sections={"signals": signal_section(NOW)})
    assert samples(render(statistics))[name][tuple(sorted(labels.items()))] == value


def test_the_json_has_signals_and_a_queue_of_each_worker() -> None:
    told = document(instance(sections={"signals": signal_section(NOW)}))
    assert told["signal_queue"] == 3
    assert [worker["signal_queue"] for worker in told["workers"]] == [0, 2]
    assert told["signals"]["signals"][1]["failure"]["error"].startswith("RuntimeError")


def test_prometheus_gets_counters_as_counters() -> None:
    kinds = {family.name: family.type for family in text_string_to_metric_families(render(instance()))}
    assert kinds["uwsgi_cache_hits"] == "counter"
    assert kinds["uwsgi_worker_requests"] == "counter"
    assert kinds["uwsgi_worker_rss_bytes"] == "gauge"


def test_prometheus_is_spared_cores_that_never_served() -> None:
    idle = worker(1, cores=tuple(core(number) for number in range(1000)))
    assert "worker_core_" not in render(instance(workers=(idle,)))


def test_label_values_may_hold_quotes_backslashes_and_newlines() -> None:
    socket = replace(instance().sockets[0], name='/tmp/a"b\\c\nd')
    assert (("name", '/tmp/a"b\\c\nd'), ("proto", "http")) in samples(render(instance(sockets=(socket,))))[
        "uwsgi_socket_shared"
    ]
