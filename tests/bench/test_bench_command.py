"""t2m-edge bench on a small real model."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import shutil
import statistics
import sys
import time
from pathlib import Path

import pytest

from t2m_bench.local import timed
from t2m_bench.run import Plan, Progress, left_out
from t2m_edge.cli.bench_output import Steps, _narrowed, doubts
from t2m_edge.cli.main import run
from t2m_runtime import Classifier, available_engines


def bench(capsys: pytest.CaptureFixture, *arguments: object) -> tuple[int, str, str]:
    code = run(["bench", *map(str, arguments)])
    out = capsys.readouterr()
    return code, out.out, out.err


def test_every_cost_is_measured_apart(capsys, model: Path) -> None:
    code, out, _ = bench(capsys, model, "--seconds", 0.3, "--json")
    (found,) = json.loads(out)["results"]
    assert code == 0
    assert found["runs"]["count"] > 10
    assert 0 < found["runs"]["p50"] <= found["runs"]["p90"] <= found["runs"]["p99"]
    assert found["frame"]["p50"] > found["prepare"]["p50"] > 0
    assert found["unit"] == "ms" and found["load"] > 0 and found["first"] > 0 and found["memory"]["peak"] > 10
    assert found["size_bytes"] == model.stat().st_size
    assert len(found["checks"]) == 4 and not any(found["checks"].values())
    assert len(found["quantiles"]) == 101 and found["quantiles"][50] == pytest.approx(found["runs"]["p50"])


def test_memory_is_the_process_s_own(capsys, model: Path) -> None:
    ballast = bytearray(b"x" * 300_000_000)
    _, out, _ = bench(capsys, model, "--seconds", 0.1, "--json")
    memory = json.loads(out)["results"][0]["memory"]
    assert 20 < memory["before"] <= memory["peak"] < 200 and len(ballast)


def test_accuracy_is_that_of_eval(capsys, model: Path, tmp_path: Path) -> None:
    photos = Path(__file__).resolve().parents[2] / "examples" / "photos"
    for name in ("carrots", "red bell pepper", "kiwi"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        photo = next(photos.glob(f"{name.replace(' ', '*')}*.jpg"), next(photos.glob("*.jpg")))
        shutil.copy(photo, tmp_path / "photos" / name)
    _, out, _ = bench(capsys, model, "--seconds", 0.1, "--photos", tmp_path / "photos", "--json")
    found = json.loads(out)["results"][0]["accuracy"]
    run(["eval", str(model), str(tmp_path / "photos"), "--json"])
    assert found["images"] == 3 and found["accuracy"] == json.loads(capsys.readouterr().out)["accuracy"]


def test_a_report_is_written_from_a_run_and_from_history(capsys, model: Path, tmp_path: Path) -> None:
    code, _, _ = bench(capsys, model, "--seconds", 0.1, "--report", tmp_path / "run.html")
    assert code == 0 and "One inference" in (tmp_path / "run.html").read_text("utf-8")
    assert bench(capsys, "report", tmp_path / "kept.html")[0] == 0
    code, _, err = bench(capsys, "report", tmp_path / "kept.html")
    assert code == 2 and "--overwrite" in err
    code, _, err = bench(capsys, model, "--report", tmp_path / "run.pdf")
    assert code == 2 and ".html" in err


def test_the_core_takes_one_thread_of_several_and_its_own_way_to_swap(capsys, model: Path, head: Path) -> None:
    if not available_engines()["core"].version:
        pytest.skip("the C core is not compiled here")
    words = ["--engine", "core,litert", "--threads", "1,2", "--head", head, "--seconds", 0.1, "--json"]
    code, out, _ = bench(capsys, model, *words)
    found = json.loads(out)["results"]
    assert code == 0
    assert [(r["engine"].split()[0], r["threads"]) for r in found] == [("core", 1), ("litert", 1), ("litert", 2)]
    with Classifier.load(model, engine="core") as classifier:
        swap = statistics.median(timed(lambda: classifier.swap_head(head.read_bytes()), 50)) * 1e3
    assert found[0]["swap"]["p50"] == pytest.approx(swap, rel=0.9)


@pytest.mark.parametrize("where", ["local", "browser", "qemu:cortex-a72"])
def test_a_file_that_was_cut_short_is_told_as_that(capsys, model: Path, tmp_path: Path, where: str) -> None:
    (tmp_path / "cut.tflite").write_bytes(model.read_bytes()[:-200_000])
    code, _, err = bench(capsys, tmp_path / "cut.tflite", "--device", where)
    assert code == 2 and "cut.tflite is damaged or cut short" in err and len(err.splitlines()) == 1


def test_all_inputs_are_checked_before_anything_is_announced(capsys, model: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.tflite"
    bad.write_bytes(model.read_bytes()[:100_000])
    code, _, err = bench(capsys, model, bad)
    assert code == 2 and len(err.splitlines()) == 1 and "left" not in err


def test_foreign_models_are_measured_too(capsys, tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 8]) for n in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "relu", ends[:1], ends[1:])
    path = tmp_path / "relu.onnx"
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()
    )
    code, out, _ = bench(capsys, path, "--seconds", 0.1, "--json")
    (found,) = json.loads(out)["results"]
    assert code == 0 and found["frame"] is None and found["classes"] is None and found["runs"]["count"] > 10


def test_results_are_kept_listed_compared_and_exported(capsys, model: Path, tmp_path: Path) -> None:
    for _ in range(2):
        bench(capsys, model, "--seconds", 0.2)
    code, out, _ = bench(capsys, "history", "grocery", "--json")
    rows = json.loads(out)["results"]
    assert code == 0 and [r["id"] for r in rows] == [1, 2]
    code, out, _ = bench(capsys, "compare", 1, 2)
    assert code == 0 and "p90" in out
    assert bench(capsys, "export", tmp_path / "all.json")[0] == 0
    assert len(json.loads((tmp_path / "all.json").read_text())["results"]) == 2
    assert bench(capsys, "export", tmp_path / "all.json")[0] == 2
    assert bench(capsys, "export", tmp_path / "all.json", "--overwrite")[0] == 0
    code, _, err = bench(capsys, "export", tmp_path / "all.csv")
    assert code == 2 and "should end in .json" in err and not (tmp_path / "all.csv").exists()
    code, _, err = bench(capsys, "compare", 1, 7)
    assert code == 2 and "no result 7" in err


def test_a_model_against_itself_is_not_slower(capsys, model: Path, tmp_path: Path) -> None:
    copy = shutil.copy(model, tmp_path / "copy.tflite")
    code, out, _ = bench(capsys, model, "--baseline", copy, "--seconds", 1, "--fail-if-slower", "50%", "--csv")
    header, row = csv.reader(io.StringIO(out))
    assert code == 0
    assert 0.5 < float(row[header.index("baseline_ratio")]) < 2
    assert float(row[header.index("p95")]) > 0 and row[header.index("accuracy")] == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing.tflite"], "No such file"),
        (["MODEL", "--threads", "0"], "--threads"),
        (["MODEL", "--engine", "core", "--threads", "2"], "one thread"),
        (["MODEL", "--head", "missing.t2mh"], "No such file"),
        (["MODEL", "--meter", "hwmon", "--baseline", "MODEL"], "leave --baseline out"),
        (["MODEL", "--head", "MODEL"], "is not a head file"),
        (["MODEL", "--inside", "test"], "--photos"),
        (["MODEL", "--data", "."], "--suite"),
        (["--suite", "quick", "--threads", "2"], "--threads cannot be given"),
        (["--suite", "quick", "--profile"], "--profile cannot be given"),
        (["MODEL", "--baseline", "MODEL", "--fail-if-slower", "5"], "such as 5%"),
        (["MODEL", "--database", "/proc/bench.sqlite"], "cannot hold results"),
        (["history", "--limit", "0"], "--limit"),
        (["export", "none.json"], "has no results"),
        (["report", "none.html"], "has no results"),
        (["MODEL", "--seconds", "0"], "--seconds"),
        (["MODEL", "--engine", "onnxruntime"], "does not run .tflite"),
        (["MODEL", "--fail-if-slower", "5%"], "--baseline"),
        (["MODEL", "--baseline", "MODEL", "--fail-if-slower", "much"], "such as 5%"),
        (["MODEL", "--csv", "--json"], "one of"),
    ],
)
def test_wrong_use_is_one_line(capsys, model: Path, arguments: list[str], words: str) -> None:
    code, _, err = bench(capsys, *(model if a == "MODEL" else a for a in arguments))
    assert code == 2 and words in err.splitlines()[-1] and "left" not in err


def test_a_file_that_is_no_model_and_one_that_is_no_database_are_named(capsys, model, tmp_path: Path) -> None:
    bad = tmp_path / "bad.tflite"
    bad.write_bytes(b"no model")
    code, _, err = bench(capsys, bad, "--seconds", 0.1)
    assert code == 2 and "bad.tflite" in err
    code, _, err = bench(capsys, "history", "--database", bad)
    assert code == 2 and "cannot hold results (file is not a database)" in err


def test_an_empty_history_says_so(capsys) -> None:
    code, out, _ = bench(capsys, "history", "zebra")
    assert code == 0 and "no results of zebra" in out


def test_what_was_kept_and_how_the_gate_ended_is_said(capsys, model: Path) -> None:
    code, out, _ = bench(capsys, model, "--baseline", model, "--fail-if-slower", "400%", "--seconds", 0.1)
    assert code == 0 and "Kept as result 1;" in out and "No model is surely slower than grocery.tflite by 400%." in out


def test_what_takes_no_part_is_said(model: Path) -> None:
    assert left_out(Plan((model,), ("litert",), (1, 2))) == []
    assert left_out(Plan((model,), ("core", "litert", "onnxruntime"), (1, 2))) == [
        "onnxruntime took no part: it runs .onnx models",
        "the C core was measured on one thread alone",
    ]


def test_reasons_for_doubt_are_told_once() -> None:
    busy = [
        {"name": "a", "engine": "core", "threads": 1, "suspect": (f"the machine was busy: load {n}",)} for n in (3, 4.5)
    ]
    hot = {**busy[0], "threads": 2, "suspect": ("it grew 12 degrees hotter",)}
    assert doubts([*busy, hot]) == [
        "a, core, 1 thread: the machine was busy: load 3 (and 1 more like it)",
        "a, core, 2 threads: it grew 12 degrees hotter",
    ]


def test_the_bar_moves_while_a_run_lasts(monkeypatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stderr", Terminal())
    monkeypatch.setattr(Steps, "REDRAWN", 0.05)
    steps = Steps()
    steps.show(Progress(0, 2, "pets.tflite", 20.0))
    steps._since -= 15  # a quarter of a minute later
    time.sleep(0.3)
    steps.close()
    first, *_, last, cleared = sys.stderr.getvalue().split("\r\x1b[K")[1:]
    assert first.startswith("╺") and "about 20 s left" in first
    assert last.startswith("━" * 17) and "about 5 s left" in last and cleared == ""


def test_names_are_shortened_for_a_narrow_terminal_alone(monkeypatch) -> None:
    header, rows = ["model", "engine"], [["mobilenet_v1_1.0_224_quant_embedding_extractor.tflite", "litert 2.3.0"]]
    assert _narrowed(header, rows) == rows
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "50")
    ((name, _),) = _narrowed(header, rows)
    assert len(name) == 36 and name.startswith("mobilenet_v1_") and name.endswith("_extractor.tflite")
    monkeypatch.setenv("COLUMNS", "10")
    assert len(_narrowed(header, rows)[0][0]) == 24


def test_a_full_disk_leaves_no_half_written_file(capsys, model: Path, tmp_path: Path, monkeypatch) -> None:
    bench(capsys, model, "--seconds", 0.1)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("t2m_edge.compiler.saving.os.fdopen", full)
    for words in (["export", tmp_path / "all.json"], ["report", tmp_path / "all.html"]):
        code, _, err = bench(capsys, *words)
        assert code == 2 and "cannot be written (No space left on device)" in err
    assert [path.name for path in tmp_path.iterdir()] == ["bench.sqlite"]
