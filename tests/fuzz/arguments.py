"""The command line of the fuzzers that take a seed for the whole run."""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable


def main(description: str, fuzz: Callable[[float, int], int]) -> int:
    """Run ``fuzz`` with the seconds and the seed of the command line, or a random one; return its exit status."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=None)
    arguments = parser.parse_args()
    seed = random.randrange(2**32) if arguments.seed is None else arguments.seed
    return fuzz(arguments.seconds, seed)
