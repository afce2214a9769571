"""Our times beside those of litert-benchmark, the tool in the ai-edge-litert package: the same model, in turn.

    python -m t2m_bench.litert_benchmark model.tflite [--threads 1] [--rounds 7]

Prints both medians, their ratio, and what our loop adds to an inference that does nothing (in microseconds, and as a
share of a model of one millisecond).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from t2m_bench.exits import one_line
from t2m_bench.local import measure, steady
from t2m_bench.request import Request
from t2m_bench.timing import paired_ratio
from t2m_runtime.errors import WorkError

TOOL = "ai_edge_litert.tools.benchmark_litert_model"


def theirs(model: Path, threads: int, runs: int) -> float:
    """Median milliseconds that litert-benchmark gives, without its rounding to hundredths.

    Raises:
        WorkError: it is not installed, or failed.
    """
    code = f"import json, {TOOL} as t; t.round = lambda x, n: x; print(json.dumps(t.run_benchmark(t.parse_args())))"
    with tempfile.TemporaryDirectory() as folder:
        words = [
            "--model",
            str(model.resolve()),
            "--num_threads",
            str(threads),
            "--num_runs",
            str(runs),
            "--warmup_runs",
            "50",
        ]
        command = [sys.executable, "-c", code, *words]
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    if done.returncode:
        raise WorkError(f"litert-benchmark failed: {(done.stderr.strip().splitlines() or ['no words'])[-1]}")
    return json.loads(done.stdout.splitlines()[-1])["latency"]["median_ms"]


def overhead(seconds: float = 2.0) -> float:
    """Microseconds that our loop adds to a run: the median time of a run that does nothing, and the loop around it."""
    began = time.perf_counter()
    (times,), _ = steady([lambda: None], seconds)
    return (time.perf_counter() - began) / len(times) * 1e6


def compare(model: Path, threads: int, rounds: int, seconds: float) -> dict[str, float]:
    """Medians of rounds in which both take turns; ratio: ours over theirs, and its 98 % interval over the rounds."""
    ours, others = [], []
    for _ in range(rounds):
        (found,) = measure(Request((str(model),), "litert", threads, seconds))
        ours.append(statistics.median(found.runs) * 1e3)
        others.append(theirs(model, threads, max(200, round(seconds * 1e3 / ours[-1]))))
    ratio = paired_ratio(ours, others) if rounds >= 8 else None
    return {
        "ours_ms": statistics.median(ours),
        "litert_benchmark_ms": statistics.median(others),
        "ratio": statistics.median(a / b for a, b in zip(ours, others, strict=True)),
        **({"low": ratio.low, "high": ratio.high} if ratio else {}),
        "least_ratio": min(ours) / min(others),
        "overhead_us": overhead(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with one_line():
        found = compare(args.model, args.threads, args.rounds, args.seconds)
    if args.json:
        print(json.dumps({"schema_version": 1, **found}))
        return
    print(f"ours              {found['ours_ms']:.4f} ms")
    print(f"litert-benchmark  {found['litert_benchmark_ms']:.4f} ms")
    print(f"ratio             {found['ratio']:.3f} (of the least: {found['least_ratio']:.3f})")
    print(f"our loop adds     {found['overhead_us']:.2f} us a run, {found['overhead_us'] / 1e3:.2%} of a model of 1 ms")


if __name__ == "__main__":
    main()
