"""What becomes of a task after a run, for any number of runs and any patience."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uwsgi_async.spooler.decide import Again, Done, GiveUp, Outcome, Patience, is_worn_out, next_step, outcome_of

PATIENCE = st.builds(
    Patience,
    frequency=st.floats(1, 1000),
    retries=st.none() | st.integers(0, 100),
    delay=st.just(0.0) | st.floats(0.1, 1000),
    longest=st.floats(1, 10_000),
)
RUNS = st.integers(1, 10_000)
OUTCOMES = st.sampled_from(Outcome)


@pytest.mark.parametrize(
    ("result", "outcome"),
    [
        (-2, Outcome.OK),
        (0, Outcome.IGNORED),
        (-1, Outcome.RETRY),
        (7, Outcome.RETRY),
        (None, Outcome.RETRY),
        (True, Outcome.RETRY),
        (False, Outcome.RETRY),
        ("ok", Outcome.RETRY),
        (-2.0, Outcome.RETRY),
    ],
)
def test_a_result_means_what_it_means_in_uwsgi(result: object, outcome: Outcome) -> None:
    assert outcome_of(result) is outcome


@given(RUNS, PATIENCE)
def test_what_is_done_is_deleted(runs: int, patience: Patience) -> None:
    assert next_step(Outcome.OK, runs, patience, 0.0) == Done()


@given(OUTCOMES, RUNS, PATIENCE)
def test_only_what_is_done_is_deleted(outcome: Outcome, runs: int, patience: Patience) -> None:
    step = next_step(outcome, runs, patience, 0.0)
    assert (step == Done()) == (outcome is Outcome.OK)


@given(st.sampled_from([Outcome.FAILED, Outcome.RETRY]), RUNS, PATIENCE)
def test_it_is_given_up_after_the_last_retry_and_not_before(outcome: Outcome, runs: int, patience: Patience) -> None:
    step = next_step(outcome, runs, patience, 0.0)
    assert (
        (step == GiveUp()) == (patience.retries is not None and runs > patience.retries) == is_worn_out(runs, patience)
    )


@given(RUNS, PATIENCE)
def test_a_task_for_ever_and_one_of_others_are_never_given_up(runs: int, patience: Patience) -> None:
    again = Again(5.0 + patience.frequency)
    assert next_step(Outcome.RETRY, runs, patience, 5.0, forever=True) == again
    assert next_step(Outcome.IGNORED, runs, patience, 5.0) == again


@given(RUNS, PATIENCE)
def test_a_delay_grows_up_to_the_longest(runs: int, patience: Patience) -> None:
    this = next_step(Outcome.FAILED, runs, patience, 0.0)
    following = next_step(Outcome.FAILED, runs + 1, patience, 0.0)
    if isinstance(this, Again) and isinstance(following, Again) and patience.delay:
        assert min(patience.delay, patience.longest) <= this.due <= following.due <= patience.longest


def test_a_delay_doubles() -> None:
    patience = Patience(30.0, None, 2.0, 100.0)
    dues = [next_step(Outcome.FAILED, runs, patience, 0.0) for runs in range(1, 8)]
    assert dues == [Again(seconds) for seconds in (2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 100.0)]
