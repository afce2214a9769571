"""A folder of hostile files: each is refused with one line, within a second and 500 MB, and none ends the process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parents[1]
TASK = "zebra: black and white stripes\nmoose: broad antlers\ncat: small, with fur\n"
MOST_SECONDS, MOST_MB = 1.0, 500


@pytest.fixture(scope="module")
def opened(tiny_pack, tmp_path_factory):
    """What open_files.py tells of each file; a crash is told as its file."""
    import t2m_edge

    folder = tmp_path_factory.mktemp("hostile")
    good = folder / "good"
    good.mkdir()
    (good / "t.txt").write_text(TASK)
    for name, target in (("m.tflite", "tflite"), ("m.onnx", "onnx"), ("h.t2mh", "head")):
        t2m_edge.compile(good / "t.txt", good / name, pack=tiny_pack, target=target, min_agreement=0)
    (good / "pack").symlink_to(tiny_pack)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    def python(*arguments: object) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, *map(str, arguments)], capture_output=True, text=True, env=environment, timeout=900
        )

    done = python(HERE / "hostile" / "make_files.py", good, folder / "bad")
    assert done.returncode == 0, done.stderr[-2000:]
    found, first = [], 0
    while True:
        done = python(HERE / "hostile" / "open_files.py", folder / "bad", first)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        found += [line for line in lines if "file" in line]
        if done.returncode == 0:
            return found
        assert lines, done.stderr[-2000:]
        last = lines[-1]
        assert "opening" in last, done.stderr[-2000:]
        strange = [f"the process ended with {done.returncode}: {done.stderr.strip()[-200:]}"]
        found.append({"file": last["opening"], "seconds": 0.0, "mb": 0.0, "strange": strange})
        first = last["number"] + 1


def test_every_hostile_file_is_refused_with_one_of_our_lines_or_read(opened):
    assert len(opened) > 150
    assert {o["file"]: o["strange"] for o in opened if o["strange"]} == {}


def test_no_hostile_file_takes_a_second(opened):
    assert {o["file"]: o["seconds"] for o in opened if o["seconds"] > MOST_SECONDS} == {}


def test_no_hostile_file_takes_500_megabytes(opened):
    assert max(o["mb"] for o in opened) < MOST_MB
