"""When a worker is worn out, how long a dead one waits for the next, and what is killed from outside."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uwsgi_async.instance.backoff import SHORT_LIFE, Backoff
from uwsgi_async.instance.hanging import Condition, verdict
from uwsgi_async.instance.limits import Wear, wears_out, worn_out
from uwsgi_async.options.build import build
from uwsgi_async.options.settings import Options, ProcessOptions

MB = 1 << 20
OLD = Wear(worker=1, requests=1000, age=1000.0, rss=500 * MB, vsz=900 * MB)
WELL = Condition(still=0.2, harakiri=1.0, overdue=False, task_overdue=False, rss=10 * MB, vsz=20 * MB)


def options(**values: float) -> ProcessOptions:
    return build(**values).process


wears = st.builds(
    Wear,
    worker=st.integers(1, 100),
    requests=st.integers(0, 10**9),
    age=st.floats(0, 1e6),
    rss=st.integers(0, 2**40),
    vsz=st.integers(0, 2**40),
)


@given(wears)
def test_without_limits_no_worker_is_worn_out(wear: Wear) -> None:
    assert worn_out(options(), wear) is None


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ({"max_requests": 1000}, "has served 1000 requests (option max-requests)"),
        ({"max_worker_lifetime": 999.5}, "has lived 999.5 s (option max-worker-lifetime)"),
        ({"reload_on_rss": 400}, "uses 500 MB of the 400 that it may (option reload-on-rss)"),
        ({"reload_on_as": 800}, "uses 900 MB of the 800 that it may (option reload-on-as)"),
    ],
)
def test_each_limit_is_named_when_it_is_reached(limit: dict[str, float], reason: str) -> None:
    assert worn_out(options(**limit), OLD) == reason
    assert worn_out(options(**limit), dataclasses.replace(OLD, requests=0, age=500.0, rss=0, vsz=0)) is None


@given(wears, st.integers(1, 10**6), st.integers(0, 1000))
def test_the_delta_is_added_for_each_worker_before_it(wear: Wear, most: int, delta: int) -> None:
    limits = options(max_requests=most, max_requests_delta=delta, min_worker_lifetime=0)
    assert (worn_out(limits, wear) is not None) == (wear.requests >= most + (wear.worker - 1) * delta)


@given(wears, st.floats(1, 1e5), st.floats(0, 1000))
def test_lifetimes_have_a_delta_too(wear: Wear, lifetime: float, delta: float) -> None:
    limits = options(max_worker_lifetime=lifetime, max_worker_lifetime_delta=delta)
    assert (worn_out(limits, wear) is not None) == (wear.age >= lifetime + (wear.worker - 1) * delta)


@given(wears, st.floats(0, 1e6))
def test_requests_and_memory_do_not_count_before_the_shortest_lifetime(wear: Wear, shortest: float) -> None:
    limits = options(max_requests=1, reload_on_rss=1, reload_on_as=1, min_worker_lifetime=shortest)
    if wear.age < shortest:
        assert worn_out(limits, wear) is None


@given(st.lists(st.floats(0, 2 * SHORT_LIFE)), st.floats(0, 100))
def test_a_pause_grows_with_each_short_life_up_to_its_limit(lives: list[float], longest: float) -> None:
    backoff = Backoff(longest)
    before = 0.0
    for lived in lives:
        pause = backoff.next(lived)
        assert 0.0 <= pause <= longest
        assert pause == 0.0 if lived > SHORT_LIFE else pause >= before
        before = pause


def test_pauses_double_from_a_tenth_of_a_second() -> None:
    backoff = Backoff(1.0)
    assert [backoff.next(0.0) for _ in range(6)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def reason(condition: Condition, given: Options) -> str | None:
    found = verdict(condition, given)
    return None if found is None else found.reason


def test_a_mule_over_its_own_limit_is_killed_and_the_log_says_where_it_was() -> None:
    found = verdict(dataclasses.replace(WELL, task_overdue=True), build())
    assert found is not None
    assert "mule-harakiri" in found.reason
    assert found.hangs


def test_a_worker_that_is_well_is_left_alone() -> None:
    limits = build(evil_reload_on_rss=100, evil_reload_on_as=100)
    assert verdict(WELL, limits) is None


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"overdue": True}, "HARAKIRI (user) triggered"),
        ({"still": 7.5, "harakiri": 5.0}, "HARAKIRI: its event loop has not turned for 7.5 s"),
        ({"rss": 101 * MB}, "its memory is 101 MB (option evil-reload-on-rss)"),
        ({"vsz": 100 * MB}, "its address space is 100 MB (option evil-reload-on-as)"),
    ],
)
def test_what_hangs_or_takes_too_much_is_ended(change: dict[str, float], expected: str) -> None:
    limits = build(harakiri_graceful_timeout=2, evil_reload_on_rss=100, evil_reload_on_as=100)
    assert reason(dataclasses.replace(WELL, **change), limits) == expected


@given(st.floats(0, 100), st.floats(0.1, 50), st.floats(0, 50))
def test_a_still_loop_has_its_limit_and_the_graceful_timeout(still: float, harakiri: float, graceful: float) -> None:
    limits = build(harakiri_graceful_timeout=graceful)
    hangs = verdict(dataclasses.replace(WELL, still=still, harakiri=harakiri), limits) is not None
    assert hangs == (still > harakiri + graceful)


@given(st.floats(0, 1e9))
def test_without_harakiri_a_loop_may_stand_still(still: float) -> None:
    assert verdict(dataclasses.replace(WELL, still=still, harakiri=0.0), build()) is None


@pytest.mark.parametrize(
    ("keywords", "meant"),
    [
        ({"reload_on_exception": True}, [True, True, True]),
        ({"reload_on_exception_type": ("ValueError", "KeyError")}, [True, True, False]),
        ({"reload_on_exception_value": "too large"}, [True, False, True]),
        ({"reload_on_exception_repr": "ValueError: too large"}, [True, False, False]),
    ],
)
def test_an_exception_that_wears_out_is_known_by_its_class_its_text_or_both(
    keywords: dict[str, Any], meant: list[bool]
) -> None:
    is_meant = wears_out(build(**keywords).reload)
    assert is_meant is not None
    assert [is_meant(error) for error in (ValueError("too large"), ValueError("else"), OSError("too large"))] == meant


def test_without_such_an_option_no_exception_wears_out() -> None:
    assert wears_out(build().reload) is None
