"""How the gate of --fail-if-slower does with a real model: python -m t2m_bench.gate MODEL [--repetitions 50].

Each repetition measures the model against itself, and against itself with every run made longer by a busy wait of a
tenth of its median: the first should trip a gate of 5 % in at most 1 of 50, the second in at least 45 of 50.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

from t2m_bench.exits import one_line
from t2m_bench.local import steady
from t2m_bench.subject import load
from t2m_bench.timing import paired_ratio

SHARE = 0.05
SLOWDOWN = 0.10


def trips(model: Path, repetitions: int, seconds: float) -> dict[str, object]:
    """How many of the repetitions trip a gate of SHARE: equal, and slower by SLOWDOWN; and their ratios."""
    first, second = load(model, None, 1), load(model, None, 1)
    ((probe,), _) = steady([first.run], 1.0)
    wait = statistics.median(probe) * SLOWDOWN
    clock = time.perf_counter

    def slower() -> None:
        second.run()
        end = clock() + wait
        while clock() < end:
            pass

    found: dict[str, list] = {"equal": [], "slower": []}
    for _ in range(repetitions):
        for name, run in (("equal", second.run), ("slower", slower)):
            _, (ours, theirs) = steady([run, first.run], seconds)
            found[name].append(paired_ratio(ours, theirs))
    return {
        "repetitions": repetitions,
        "seconds": seconds,
        **{f"{name}_trips": sum(r.slower_than(SHARE) for r in ratios) for name, ratios in found.items()},
        **{f"{name}_ratio": statistics.median(r.ratio for r in ratios) for name, ratios in found.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--repetitions", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with one_line():
        found = trips(args.model, args.repetitions, args.seconds)
    if args.json:
        print(json.dumps({"schema_version": 1, **found}))
        return
    n = found["repetitions"]
    print(
        f"the same model: {found['equal_trips']} of {n} trip a gate of {SHARE:.0%} (ratio {found['equal_ratio']:.3f})"
    )
    print(f"{SLOWDOWN:.0%} slower:    {found['slower_trips']} of {n} trip it (ratio {found['slower_ratio']:.3f})")


if __name__ == "__main__":
    main()
