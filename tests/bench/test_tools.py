"""The modules that are run by themselves: the document's writer, litert-benchmark beside ours, the gate's trial."""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path

import pytest

from t2m_bench import converters, document, gate, litert_benchmark, local, main_job, precisions
from t2m_bench.local import steady, timed
from t2m_bench.suite_run import process
from t2m_bench.timing import paired_ratio
from t2m_runtime.errors import InputError, WorkError


@pytest.mark.slow
def test_the_document_is_written_whole(tmp_path: Path, monkeypatch, cache) -> None:
    monkeypatch.setattr(document, "COUNTED", ())
    monkeypatch.setattr(document, "PRECISIONS", ("int8", "fp32"))
    text = document.document(None, 0.2, lambda _: None)
    for words in ("# Benchmarks", "`groceries.fp32.onnx`", "2 threads", "## Compile"):
        assert words in text


def test_litert_benchmark_gives_a_median_of_its_own(model: Path) -> None:
    pytest.importorskip("ai_edge_litert.tools.benchmark_litert_model")
    assert 0 < litert_benchmark.theirs(model, 1, 50) < 1000


def test_our_loop_adds_microseconds() -> None:
    assert litert_benchmark.overhead(0.2) < 1000


@pytest.mark.slow
def test_the_gate_tells_a_slower_model_from_the_same_one(model: Path) -> None:
    found = gate.trips(model, 3, 2.0)
    assert found["equal_trips"] <= 1 and found["slower_ratio"] > found["equal_ratio"]


@pytest.mark.parametrize(
    ("module", "arguments", "words"),
    [
        (main_job, ["missing.txt"], "no such file"),
        (document, ["--data", "missing", "-o", "page.md"], "name another folder"),
        (document, ["-o", "missing/page.md"], "no such folder"),
        (gate, ["missing.tflite"], "No such file"),
        (litert_benchmark, ["missing.tflite"], "No such file"),
        (precisions, ["missing.tflite"], "No such file"),
        (converters, ["missing.txt"], "No such file"),
    ],
)
def test_wrong_use_is_one_line(module, arguments: list[str], words: str, monkeypatch, capsys) -> None:
    monkeypatch.setattr(main_job.shutil, "which", lambda _: "t2m-edge")
    monkeypatch.setattr("sys.argv", ["tool", *arguments])
    with pytest.raises(SystemExit) as ended:
        module.main()
    line = capsys.readouterr().err.splitlines()[-1]
    assert ended.value.code == 2 and "error: " in line and words in line


def test_the_main_job_needs_its_command(monkeypatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match="t2m-edge is not on PATH"):
        main_job.measure(Path("examples/grocery.txt"), None, 1)


def test_a_process_that_fails_says_why() -> None:
    with pytest.raises(WorkError, match="status 3: no disk"):
        process([sys.executable, "-c", "import sys; print('error: no disk', file=sys.stderr); sys.exit(3)"])


def test_blocks_take_turns() -> None:
    order: list[str] = []
    steady([lambda: order.append("a"), lambda: order.append("b")], 0.1)
    changes = sum(x != y for x, y in itertools.pairwise(order))
    assert changes >= 19
    _, (first, second) = steady([lambda: None, lambda: None], 1.0)
    assert paired_ratio(first, second).blocks == len(first) == len(second) >= 10


@pytest.mark.parametrize("one_run", [0.001, 0.3])
def test_a_steady_state_lasts_as_long_as_asked_for_and_hardly_longer(one_run: float) -> None:
    began = time.perf_counter()
    (times,), (blocks,) = steady([lambda: time.sleep(one_run)], 3.0)
    assert sum(times) >= 3.0 and len(blocks) >= 10 and time.perf_counter() - began < 4.5


def test_fewer_frames_are_enough_where_they_are_slow(monkeypatch) -> None:
    monkeypatch.setattr(local, "FRAME_SECONDS", 0.05)
    assert len(timed(lambda: time.sleep(0.02), 30, 5)) == 5
    assert len(timed(lambda: None, 30, 5)) == 30
    assert timed(None, 30, 5) == ()
