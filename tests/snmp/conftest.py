"""What the tests of the agent share: an agent over numbers that a test sets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.snmp.manager import Told, read
from uwsgi_async.options.settings import MetricOptions
from uwsgi_async.options.snmp import SnmpOptions
from uwsgi_async.snmp.agent import Agent
from uwsgi_async.snmp.tree import Tree
from uwsgi_async.snmp.values import SnmpValues
from uwsgi_async.state.metrics import Metrics
from uwsgi_async.state.metricspec import Shape

METRICS = ("name=plain", "name=gauge,type=gauge,oid=9.1,initial_value=-1", "name=count,oid=9.2,initial_value=5")


@dataclass
class Place:
    """An instance without processes: its numbers, the requests of its workers, and its agent."""

    values: SnmpValues
    metrics: Metrics | None
    requests: list[int] = field(default_factory=lambda: [3, 4])

    def __post_init__(self) -> None:
        self.tree = Tree(self.values, lambda: self.requests, self.metrics)
        self.agent = Agent(self.values, self.tree)

    def ask(self, request: bytes) -> Told:
        answer = self.agent.answer(request)
        assert answer is not None
        return read(answer)

    @property
    def counts(self) -> dict[str, int]:
        """What is counted, without zeros."""
        return {name: count for name, count in self.values.sections()["snmp"].items() if count}


def made(*metrics: str) -> Iterator[Place]:
    values = SnmpValues.create(SnmpOptions(snmp_community="public"))
    assert values is not None
    kept = Metrics.create(MetricOptions(metric=metrics), Shape(2, 2, 1)) if metrics else None
    yield Place(values, kept)
    values.close()
    if kept is not None:
        kept.close()


@pytest.fixture
def place() -> Iterator[Place]:
    yield from made()


@pytest.fixture
def measured() -> Iterator[Place]:
    """The same with metrics: the instance's own, and three of the options."""
    yield from made(*METRICS)
