"""What was measured, as text: ratios with their spread, goals met or not, and a Markdown page.

What lives here: arithmetic on `Results` and its two shapes, JSON and Markdown. What does not: measuring.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.scenarios import GOALS, SCENARIOS, Goal, Measurement, Scenario
from benchmarks.servers import SERVERS


@dataclass
class Results:
    """All measurements of a run: by scenario and server, one a round; None where a round failed."""

    command: str
    rounds: int
    seconds: int
    cpu: str
    versions: dict[str, str]
    measurements: dict[str, dict[str, list[Measurement | None]]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def add(self, scenario: str, server: str, measurement: Measurement | None) -> None:
        self.measurements.setdefault(scenario, {}).setdefault(server, []).append(measurement)

    def values(self, scenario: str, server: str) -> list[float]:
        return [one.value for one in self.measurements.get(scenario, {}).get(server, []) if one]


@dataclass(frozen=True)
class Ratio:
    """The median of the ratios of each round, and the smallest and largest."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f}-{self.high:.2f})"


def ratio(results: Results, scenario: str, server: str, other: str) -> Ratio | None:
    """Return ``server``'s value by ``other``'s, paired by round; None when there is no such pair."""
    rounds = results.measurements.get(scenario, {})
    pairs = zip(rounds.get(server, []), rounds.get(other, []), strict=False)
    ratios = [one.value / two.value for one, two in pairs if one and two and two.value]
    return Ratio(statistics.median(ratios), min(ratios), max(ratios)) if ratios else None


def goal_row(results: Results, goal: Goal) -> tuple[str, str, str, str] | None:
    """Return what is wanted, what was measured and the verdict; None when it was not measured."""
    scenario, server = SCENARIOS[goal.scenario], SERVERS[goal.server].title
    if goal.other is None:
        values = results.values(goal.scenario, goal.server)
        if not values:
            return None
        value = statistics.median(values)
        wanted = f"{server}: at most {number(goal.at_most)} {scenario.unit}"
        measured = f"{number(value)} ({number(min(values))}-{number(max(values))})"
        return scenario.title, wanted, measured, "met" if value <= goal.at_most else "**not met**"
    measured_ratio = ratio(results, goal.scenario, goal.server, goal.other)
    if measured_ratio is None:
        return None
    wanted = f"{server}: at least {goal.factor:g}x {SERVERS[goal.other].title}"
    verdict = "met" if measured_ratio.median >= goal.factor else "**not met**"
    return scenario.title, wanted, str(measured_ratio), verdict


def number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}"


def errors(measurements: list[Measurement | None]) -> str:
    """Return what went wrong, each once; a failed round is told too."""
    found = list(dict.fromkeys(one.errors for one in measurements if one and one.errors))
    failed = measurements.count(None)
    return "; ".join([*found, *([f"{failed} of {len(measurements)} rounds failed"] if failed else [])])


def table(*rows: tuple[str, ...]) -> Iterator[str]:
    """Yield a Markdown table; the first row is its head."""
    head, *body = rows
    yield f"| {' | '.join(head)} |"
    yield f"| {' | '.join('---' for _ in head)} |"
    for row in body:
        yield f"| {' | '.join(cell.replace('|', '/').replace(chr(10), ' ') for cell in row)} |"
    yield ""


def scenario_table(results: Results, scenario: Scenario) -> Iterator[str]:
    measured = results.measurements[scenario.name]
    ours = [name for name in measured if SERVERS[name].ours and results.values(scenario.name, name)]
    reference = ours[0] if ours else ""
    latency = scenario.kind == "load"
    head = ["server", scenario.unit, "min-max", *(["p99, ms"] if latency else [])]
    if reference:
        head.append(f"{SERVERS[reference].title}, by it")
    rows = [(*head, "errors")]
    for name, rounds in measured.items():
        values = results.values(scenario.name, name)
        if not values:
            rows.append((SERVERS[name].title, *("-" for _ in head[1:]), errors(rounds)))
            continue
        row = [SERVERS[name].title, number(statistics.median(values)), f"{number(min(values))}-{number(max(values))}"]
        if latency:
            row.append(f"{statistics.median(one.p99 for one in rounds if one) * 1000:.1f}")
        if reference:
            row.append("1" if name == reference else str(ratio(results, scenario.name, reference, name) or "-"))
        rows.append((*row, errors(rounds)))
    yield f"## {scenario.title}"
    yield ""
    better = "More is better." if scenario.more_is_better else "Less is better."
    yield f"`{scenario.name}`. {scenario.note} {better}"
    yield ""
    yield from table(*rows)


def markdown(results: Results) -> str:
    """Return the page: how it was measured, the goals, and a table for each scenario."""
    lines = [
        "# Benchmarks",
        "",
        f"Made by `{results.command}`. {results.cpu}; "
        + ", ".join(f"{name} {version}" for name, version in results.versions.items())
        + ".",
        "",
        "Each server has one process that serves, pinned to one core, where no number of workers is told; wrk (one "
        "thread) has another core. Rounds are "
        "interleaved: in each one every server is started, its answer checked, warmed up, measured and stopped. "
        f"A value is the median of its rounds (here: {results.rounds}, of {results.seconds} s where wrk measures). "
        "A ratio is taken in each round; its median is given, and its smallest and largest value. "
        "wrk counts the end of a connection that uWSGI closes after its response as a read error.",
        "",
    ]
    lines += [f"- {sentence}" for sentence in results.left_out]
    lines += [""] if results.left_out else []
    goals = [row for goal in GOALS if (row := goal_row(results, goal))]
    if goals:
        lines += ["## Goals", "", *table(("scenario", "goal", "measured", "verdict"), *goals)]
    for name in results.measurements:
        lines += scenario_table(results, SCENARIOS[name])
    return "\n".join(lines)


def as_json(results: Results) -> dict[str, Any]:
    """Return the run as plain data, every round of it."""
    return {
        "command": results.command,
        "rounds": results.rounds,
        "seconds": results.seconds,
        "cpu": results.cpu,
        "versions": results.versions,
        "left_out": results.left_out,
        "measurements": {
            scenario: {
                server: [{"value": one.value, "p99": one.p99, "errors": one.errors} if one else None for one in rounds]
                for server, rounds in servers.items()
            }
            for scenario, servers in results.measurements.items()
        },
    }


def cpu_model() -> str:
    """Return the CPU's name and the number of cores that may be used."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown CPU"
