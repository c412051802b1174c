"""python -m benchmarks: measure this server beside others and print, or write, a Markdown page."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shlex
import subprocess
import sys
from pathlib import Path

from benchmarks.report import Results, as_json, cpu_model, markdown
from benchmarks.scenarios import SCENARIOS, Measurement, Scenario, measure
from benchmarks.servers import CLIENT_CPU, SERVER_CPU, SERVERS, NotUsableError, Server


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure side by side with other servers."
    )
    parser.add_argument("--scenario", metavar="A,B", help=f"some of: {', '.join(SCENARIOS)} (default: all)")
    parser.add_argument("--servers", metavar="A,B", help=f"some of: {', '.join(SERVERS)} (default: all)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each scenario (default: 5)")
    parser.add_argument("--seconds", type=int, default=5, help="seconds of each measurement by wrk (default: 5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measured value here")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the page here instead of printing it")
    parsed = parser.parse_args()
    for chosen, known in ((parsed.scenario, SCENARIOS), (parsed.servers, SERVERS)):
        unknown = set(chosen.split(",") if chosen else ()) - known.keys()
        if unknown:
            parser.error(f"unknown: {', '.join(sorted(unknown))}; known are {', '.join(known)}")
    if min(parsed.rounds, parsed.seconds) < 1:
        parser.error("--rounds and --seconds are at least 1")
    return parsed


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def shown_command(parsed: argparse.Namespace) -> str:
    """Return the command that makes these results, without the names of the files it writes."""
    command = ["python", "-m", "benchmarks"]
    for name in ("scenario", "servers"):
        if getattr(parsed, name):
            command += [f"--{name}", getattr(parsed, name)]
    return shlex.join([*command, "--rounds", str(parsed.rounds), "--seconds", str(parsed.seconds)])


def usable_servers(names: list[str]) -> tuple[list[Server], list[str]]:
    """Return the servers that can be run here, and a sentence about each other one."""
    usable, sentences = [], []
    for name in names:
        try:
            SERVERS[name].check()
        except NotUsableError as error:
            sentences.append(str(error))
        else:
            usable.append(SERVERS[name])
    return usable, sentences


def versions(servers: list[Server]) -> dict[str, str]:
    found = {"Python": platform.python_version()}
    found.update({server.distribution: server.version() for server in servers})
    for tool, flag in (("wrk", "-v"), ("nginx", "-v")):
        try:
            done = subprocess.run([tool, flag], capture_output=True, text=True)
        except FileNotFoundError:
            continue
        if match := re.search(r"(\d+(?:\.\d+)+)", done.stdout + done.stderr):
            found[tool] = match[1]
    return found


def run_scenario(scenario: Scenario, servers: list[Server], results: Results) -> None:
    """Measure all servers that take part once in each round, beginning with another one each time."""
    servers = [server for server in servers if not scenario.servers or server.name in scenario.servers]
    if not servers:
        return
    for number in range(results.rounds):
        first = number % len(servers)
        in_order = {server.name: server for server in servers[first:] + servers[:first]}
        measured: dict[str, Measurement | None] = {}
        for server in in_order.values():
            try:
                one = measure(scenario, server, results.seconds)
            except NotUsableError as error:
                tell(f"{scenario.name} {number + 1}/{results.rounds} {server.name}: {error}")
                measured[server.name] = None
                continue
            measured[server.name] = one
            tell(
                f"{scenario.name} {number + 1}/{results.rounds} {server.name}: {one.value:,.1f} {scenario.unit}"
                + (f" ({one.errors})" if one.errors else "")
            )
        for server in servers:
            results.add(scenario.name, server.name, measured[server.name])


def main() -> None:
    parsed = arguments()
    if not {int(SERVER_CPU), int(CLIENT_CPU)} <= os.sched_getaffinity(0):
        sys.exit("Two CPUs, 0 and 1, are needed: one for the server and one for the client.")
    os.sched_setaffinity(0, {int(CLIENT_CPU)})
    servers, sentences = usable_servers(parsed.servers.split(",") if parsed.servers else list(SERVERS))
    for sentence in sentences:
        tell(sentence)
    if not servers:
        sys.exit("No server is left to measure.")
    results = Results(
        shown_command(parsed), parsed.rounds, parsed.seconds, cpu_model(), versions(servers), left_out=sentences
    )
    for name in parsed.scenario.split(",") if parsed.scenario else SCENARIOS:
        run_scenario(SCENARIOS[name], servers, results)
        # After each scenario: a run that is interrupted has told what it knows.
        if parsed.json:
            parsed.json.write_text(json.dumps(as_json(results), indent=1) + "\n")
        if parsed.markdown:
            parsed.markdown.write_text(markdown(results))
    if not parsed.markdown:
        print(markdown(results))


if __name__ == "__main__":
    main()
