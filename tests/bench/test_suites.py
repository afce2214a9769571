"""Suites: ours are valid, a user's own is read, and a bad one is one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from t2m_bench.machine import Machine, State
from t2m_bench.request import Measured, Request
from t2m_bench.suite_run import Options, generated_classes, run_suite
from t2m_bench.suites import FOLDER, Suite, names, read_suite
from t2m_edge.cli.main import run
from t2m_runtime.errors import InputError


def test_our_suites_are_all_there_and_valid() -> None:
    assert names() == ["accuracy", "compile", "latency", "peers", "quick", "scaling"]
    for name in names():
        suite = read_suite(name)
        assert suite.suite == name and suite.about
        for entry in suite.runs:
            assert entry.task is None or (FOLDER / entry.task).is_file()


def test_a_suite_of_ones_own(tmp_path: Path, capsys) -> None:
    (tmp_path / "pets.txt").write_text("cat: a small furry animal\nparrot: a colourful bird\n")
    suite = {
        "suite": "pets",
        "seconds": 0.1,
        "runs": [
            {"task": "pets.txt", "targets": ["tflite", "onnx"], "compile": 1},
            {"task": "pets.txt", "precisions": ["int8", "fp32"], "head": True},
        ],
    }
    (tmp_path / "pets.yaml").write_text(yaml.safe_dump(suite))
    code = run(["bench", "--suite", str(tmp_path / "pets.yaml"), "--json"])
    found = json.loads(capsys.readouterr().out)["results"]
    assert code == 0 and all(r["suite"] == "pets" and r["classes"] == 2 for r in found)
    assert [r["name"] for r in found[:2]] == ["pets.int8.tflite", "pets.int8.onnx"]
    assert [r["name"] for r in found[2:]] == ["pets.int8.tflite", "pets.fp32.tflite"]
    assert all(r["compile"]["median_s"] > 0 for r in found[:2]) and all(r["swap"]["p50"] > 0 for r in found[2:])


def test_a_suite_with_a_bad_task_is_wrong_use(tmp_path: Path, capsys) -> None:
    (tmp_path / "one.txt").write_text("cat: a small furry animal\n")
    (tmp_path / "one.yaml").write_text(yaml.safe_dump({"runs": [{"task": "one.txt"}]}))
    assert run(["bench", "--suite", str(tmp_path / "one.yaml")]) == 2
    assert "write at least two classes" in capsys.readouterr().err.splitlines()[-1]


class Counter:
    """A device that counts what it is asked for, and has neither swaps nor profiles."""

    name, unit, rests, lacks = "counter", "instructions", False, ("head", "profile", "photos")
    asked: ClassVar[list[Request]] = []

    def check(self, requests: list[Request]) -> None:
        self.asked += requests

    def machine(self) -> Machine:
        return Machine("counter", "", "", "counter", 1, None)

    def measure(self, request: Request) -> tuple[list[Measured], State, State]:
        return [Measured("core", 1.0, 1.0, (1.0,), (1.0,))], State(), State()


def test_what_a_device_cannot_measure_is_left_out_of_a_suite(tmp_path: Path) -> None:
    (tmp_path / "pets.txt").write_text("cat: a small furry animal\nparrot: a colourful bird\n")
    runs = [{"task": "pets.txt", "head": True, "profile": True}]
    (tmp_path / "pets.yaml").write_text(yaml.safe_dump({"suite": "pets", "runs": runs}))
    (found,) = run_suite(read_suite(str(tmp_path / "pets.yaml")), Counter(), Options())
    (asked,) = Counter.asked
    assert found.device == "counter" and asked.head is None and not asked.profile


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("runs: [", "is not YAML"),
        ("- a\n- b", "the suite is"),
        ("suite: x", "runs is missing"),
        ("runs: []", "runs is missing"),
        ("runs: [{task: a.txt, thread: [1]}]", "write threads"),
        ("runs: [{task: a.txt, threads: [0]}]", "1 to 256"),
        ("runs: [{task: a.txt, engines: [tensorrt]}]", "litert"),
        ("runs: [{task: a.txt, models: [b.tflite]}]", "one of task"),
        ("runs: [{threads: [1]}]", "one of task"),
        ("seconds: 0\nruns: [{task: a.txt}]", "0.05 to 3600"),
        ("runs: [{task: missing.txt}]", "no such file"),
        ("runs: [{models: [a.tflite], head: true, compile: 2}]", "compile, head: only for a task"),
        ("runs: [{task: a.txt, inside: test}]", "give that too"),
        ("runs: [{task: a.txt, engines: [core], threads: [2]}]", "one thread"),
        ("runs: [{task: a.txt, engines: [onnxruntime]}]", "none of the targets (tflite)"),
        ("runs: [{models: ['*.tflite']}]", "no file matches"),
        ("runs: [{models: ['data/x.tflite']}]", "--data"),
    ],
)
def test_a_bad_suite_is_one_line(tmp_path: Path, text: str, words: str, capsys) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    assert run(["bench", "--suite", str(tmp_path / "bad.yaml")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


def test_an_unknown_suite_and_options_beside_one_are_refused(capsys) -> None:
    assert run(["bench", "--suite", "fast"]) == 2
    assert "quick" in capsys.readouterr().err
    assert run(["bench", "--suite", "quick", "--engine", "core"]) == 2
    assert "--engine" in capsys.readouterr().err
    assert run(["bench"]) == 2
    assert "--suite" in capsys.readouterr().err


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
entries = st.dictionaries(
    st.sampled_from(["task", "classes", "models", "threads", "engines", "compile", "photos", "profile", "x"]), values
)


@given(st.binary(max_size=200) | st.lists(entries, max_size=3).map(lambda e: yaml.safe_dump({"runs": e}).encode()))
def test_any_bytes_are_a_suite_or_one_line(tmp_path_factory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("suites") / "any.yaml"
    path.write_bytes(data)
    try:
        assert isinstance(read_suite(str(path)), Suite)
    except InputError as error:
        assert "\n" not in str(error)


def test_generated_classes_are_different() -> None:
    lines = generated_classes(1000)
    assert len(set(lines)) == 1000 and all(":" in line for line in lines)
