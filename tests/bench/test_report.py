"""The report: one page that needs nothing else, says what was measured, and can be read on a phone and on paper."""

from __future__ import annotations

import base64
import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from t2m_bench.report import page
from t2m_bench.report.scales import Scale, number, scale_of


def result(name: str = "model.tflite", **changes) -> dict:
    """A result as Result.as_dict gives it, of made-up times."""
    times = np.random.default_rng(0).gamma(30, 0.04, 500)
    summary = {k: float(np.percentile(times, v)) for k, v in (("p50", 50), ("p90", 90), ("p95", 95), ("p99", 99))}
    summary |= {"count": 500, "mean": 1.2, "deviation": 0.2, "minimum": float(times.min())}
    machine = {"name": "here", "system": "Linux 6", "architecture": "x86_64", "processor": "Fast One", "cores": 4}
    state = {"clock_mhz": 1000.0, "governor": "performance", "temperature_c": 40.0, "load": 0.1}
    found = {
        "schema_version": 2, "model": f"folder/{name}", "name": name, "sha256": name, "size_bytes": 1_300_000,
        "kind": "tflite", "precision": "int8", "classes": 10, "engine": "litert 2.3.0", "threads": 1, "device": "local",
        "unit": "ms", "machine": {**machine, "memory_mb": 4000, "python": "3.11"}, "before": state,
        "after": {**state, "temperature_c": 44.0}, "commit": None, "when": "2026-01-01T00:00:00+00:00", "load": 3.0,
        "first": 2.0, "runs": summary, "prepare": summary, "frame": summary, "swap": None,
        "quantiles": list(np.percentile(times, range(101))), "blocks": [1.2] * 20,
        "memory": {"before": 50.0, "peak": 60.0}, "profile": [["a", "CONV_2D", 0.5], ["b", "SOFTMAX", 0.1]],
        "profiler": "LiteRT's profiler",
        "energy": None, "accuracy": None, "checks": {"a rule": True, "another": False}, "suspect": [],
        "baseline": None, "suite": None, "compile": None,
    }  # fmt: skip
    return {**found, **changes}


class Reader(HTMLParser):
    """Checks that elements are closed, and gathers text and addresses."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for key, value in attributes if key in ("href", "src")]
        if tag not in ("meta", "wbr"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


FULL = [
    result(accuracy={"folder": "photos", "images": 10, "right": 8, "accuracy": 0.8}, suspect=["the machine was busy"]),
    result("other.tflite", threads=2, baseline={"model": "model.tflite", "ratio": 1.1, "low": 1.08, "high": 1.13}),
    result("other.tflite", compile={"median_s": 0.4, "processes": 3, "min_s": 0.3, "peak_mb": 70.0}),
    result(
        unit="instructions", device="qemu:cortex-a72", runs={**result()["runs"], "p50": 23.6e6}, blocks=[23.6e6] * 10,
        memory={"arena": 93_488},
    ),
]  # fmt: skip


def test_every_part_is_on_the_page_and_it_is_whole() -> None:
    text = " ".join(Reader(page(FULL)).text)
    for words in (
        "One inference", "Against the baseline", "slower", "Latency against accuracy", "Threads", "All numbers",
        "Memory and size", "Operators", "CONV_2D", "LiteRT's profiler", "Can it be believed?",
        "the machine was busy", "Fast One",
        "40 °C → 44 °C", "23.6", "93.5 kB", "not times", "Raw data",
    ):  # fmt: skip
        assert words in text, words


def test_the_same_run_twice_is_told_apart_by_its_time() -> None:
    later = result(when="2026-01-01T00:20:00+00:00")
    text = page([result(), later, result("other.tflite")])
    assert "litert 2.3.0 · 1 thread · 00:20 UTC" in text
    assert "litert 2.3.0 · 1 thread<" in text  # other.tflite was measured once
    assert "1 thread · 2026-01-02 00:00 UTC" in page([result(), result(when="2026-01-02T00:00:00+00:00")])


def test_nothing_is_fetched_and_nothing_runs() -> None:
    read = Reader(page(FULL))
    assert all(address.startswith(("data:", "#")) for address in read.addresses)
    assert not {"script", "img", "link", "iframe"} & set(read.tags)
    assert "url(" not in page(FULL) and "@import" not in page(FULL)


def test_the_raw_data_can_be_downloaded() -> None:
    links = dict(re.findall(r'download="([^"]+)" href="data:[^,]*;base64,([^"]+)"', page(FULL)))
    assert json.loads(base64.b64decode(links["bench.json"]))["results"] == json.loads(json.dumps(FULL))
    assert base64.b64decode(links["bench.csv"]).decode().count("\n") == len(FULL) + 1


def test_names_cannot_write_html() -> None:
    hostile = '<script>alert(1)</script>"onload="x'
    found = page([result(hostile, engine=hostile, suspect=[hostile], profile=[[hostile, hostile, 1.0]])])
    assert "<script" not in found and '"onload' not in found


@pytest.mark.parametrize(
    "changes", [{"blocks": [1.2]}, {"quantiles": [0.5] * 101}, {"quantiles": []}, {"memory": None}, {"profile": []}]
)
def test_poor_results_still_give_a_page(changes: dict) -> None:
    found = page([result(**changes)])
    Reader(found)
    assert "model.tflite" in found and found.rstrip().endswith("</html>")


def test_numbers_have_three_digits() -> None:
    assert [number(v) for v in (1234.5, 12.345, 1.1, 0.0123, 0)] == ["1,234", "12.3", "1.10", "0.0123", "0"]
    assert number(23_612_345, "instructions", True) == "23.6 M"


def test_axes_are_linear_or_logarithmic_and_hold_their_values() -> None:
    assert not scale_of([1.0, 2.0]).logarithmic and scale_of([1.0, 100.0]).logarithmic
    for values in ([1.0, 2.0], [0.3, 77.0], [5.0]):
        scale = scale_of(values)
        assert all(0 <= scale.at(v) <= 100 for v in values) and 2 <= len(scale.ticks()) <= 8
    assert Scale(0, 10).at(20) == 100


@pytest.fixture(scope="module")
def browser() -> str:
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if not found:
        pytest.skip("no Chromium here")
    return found


def in_browser(browser: str, folder: Path, text: str, asked: str, *options: str) -> list:
    """What a page says to a script (JSON), in a window of its own."""
    path = folder / "report.html"
    probe = f"<script>document.title = JSON.stringify({asked})</script>"
    path.write_text(text.replace("</body>", f"{probe}</body>"), "utf-8")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    done = subprocess.run(
        [*command, *options, "--dump-dom", path.as_uri()], capture_output=True, text=True, timeout=300
    )
    return json.loads(html.unescape(re.search(r"<title>(.*)</title>", done.stdout)[1]))


WIDEST = [
    result(
        f"groceries with a long name.{i}.tflite",
        swap=result()["runs"],
        accuracy={"folder": "photos", "images": 1000, "right": 758, "accuracy": 0.758},
        compile={"median_s": 0.412, "processes": 3, "min_s": 0.3, "peak_mb": 70.0},
        runs={**result()["runs"], "count": 123_456, "p99": 1234.5},
    )
    for i in range(12)
]
COLOURS = "getComputedStyle(document.body).backgroundColor, getComputedStyle(document.querySelector('.kicker')).color"
WIDTHS = "document.documentElement.scrollWidth, innerWidth"


@pytest.mark.slow
def test_chromium_shows_it_in_a_narrow_window_without_sideways_scrolling(browser: str, tmp_path: Path) -> None:
    least = "--window-size=500,900"  # of a headless window
    wide, window = in_browser(browser, tmp_path, page(FULL), f"[{WIDTHS}]", least)
    assert wide <= window


@pytest.mark.slow
@pytest.mark.parametrize("results", [FULL, WIDEST], ids=["full", "widest"])
def test_on_paper_it_is_light_and_nothing_is_cut(browser: str, tmp_path: Path, results: list) -> None:
    """The rules for paper, on a screen as wide as a sheet of A4 without its margins, where everything is dark."""
    text = page(results).replace("@media print", "@media screen")
    dark, sheet = "--blink-settings=preferredColorScheme=0", "--window-size=703,990"
    wide, window, paper, accent = in_browser(browser, tmp_path, text, f"[{WIDTHS}, {COLOURS}]", dark, sheet)
    assert wide <= window == 703
    assert paper == "rgb(255, 255, 255)" and accent == "rgb(31, 95, 208)"


@pytest.mark.slow
def test_it_prints(browser: str, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(page(FULL), "utf-8")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command += [f"--print-to-pdf={tmp_path / 'report.pdf'}", (tmp_path / "report.html").as_uri()]
    subprocess.run(command, capture_output=True, timeout=300, check=True)
    pdf = (tmp_path / "report.pdf").read_bytes()
    assert pdf.startswith(b"%PDF") and 3 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 12


@pytest.mark.slow
def test_it_follows_a_dark_system(browser: str, tmp_path: Path) -> None:
    found = in_browser(browser, tmp_path, page(FULL), f"[{COLOURS}]", "--blink-settings=preferredColorScheme=0")
    assert found == ["rgb(20, 20, 22)", "rgb(143, 182, 255)"]
