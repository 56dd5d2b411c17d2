# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report in a real Chromium: what it shows, what can be done with it, and that it asks nobody for anything."""

from __future__ import annotations

import json
import math
import os
import zlib
from pathlib import Path
from typing import Any

import pytest
from testbed import Browser, Page

from stoker.analysis import read, report, runs_in

TWO_CURVES = "figure[data-panel='0'] .line[data-run]"
CHART = "figure[data-panel='0'] .plot svg"
HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"


def run(folder: Path, name: str, factor: float, **more: Any) -> Any:
    """A run of 3,000 steps: a loss that falls, an accuracy that is logged seldom, a NaN, a learning rate of 0 first."""
    rows = []
    for step in range(3000):
        row: dict[str, Any] = {
            "step": step,
            "time": 1.7e9 + step * factor,
            "train/loss": factor * 3 * math.exp(-step / 600),
        }
        row["lr"] = min(1.0, step / 100) * 3e-4
        if step % 200 == 0:
            row["val/acc"] = 0.9 * (1 - math.exp(-step / 900)) / factor
        rows.append(row | more)
    rows[1500]["train/loss"] = float("nan")
    rows[777]["train/loss"] = 9.5
    path = folder / name / "metrics.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (path.parent / "config.json").write_text(json.dumps({"lr": 3e-4 * factor, "model": {"depth": 12}}))
    (found,) = runs_in(path.parent)
    return read(found)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    made = report.report([run(folder, "wide", 1.0), run(folder, "deep", 0.8)], compared=True, title="Wide or deep?")
    (folder / "report.html").write_text(made.html, encoding="utf-8")
    return folder / "report.html"


@pytest.fixture(scope="module")
def page(browser: Browser, file: Path) -> Page:
    page = browser.page(file)
    page.wait_for(f"document.querySelectorAll({json.dumps(TWO_CURVES)}).length === 2")
    return page


def tip(page: Page) -> str:
    return str(page.value("document.querySelector('figure[data-panel=\"0\"] .tip').innerText")).replace("\n", " ")


def choose(page: Page, name: str, event: str, value: str) -> None:
    chosen = f"const f = document.getElementById('{name}'); f.value = '{value}'; f.dispatchEvent(new Event('{event}'))"
    page.value(f"(() => {{ {chosen} }})()")


def ticks(page: Page) -> list[str]:
    found: list[str] = page.value(
        f"[...document.querySelectorAll({json.dumps(CHART + ' > g text')})].map(t => t.textContent)"
    )
    return found


@pytest.mark.accepts("R33")
def test_it_opens_without_a_network_and_without_a_complaint(page: Page, file: Path) -> None:
    assert page.value("document.title") == "Wide or deep?"
    assert page.value("document.querySelectorAll('figure').length") == 3
    shown = page.value("document.body.innerText")
    assert "A: wide/metrics.jsonl, B: deep/metrics.jsonl" in shown
    assert "2 not finite (×)" in shown
    assert page.requests() == [file.resolve().as_uri()]
    assert page.complaints() == []


@pytest.mark.accepts("R33")
def test_its_own_policy_lets_nothing_else_in(page: Page) -> None:
    added = "const s = document.createElement('script'); s.textContent = 'window.added = 1'; document.body.append(s)"
    page.value(f"(() => {{ {added} }})()")
    assert page.value("window.added") is None
    answer = page.value("fetch('data:text/plain,x').then(() => 'came', () => 'refused')")
    assert answer == "refused"


@pytest.mark.accepts("R33")
def test_values_are_shown_under_the_pointer(page: Page) -> None:
    x, y, width, _ = page.box(CHART)
    page.mouse("mouseMoved", x + 56 + (width - 66) * 777 / 2999, y + 60)
    assert "step 777" in tip(page)
    assert "9.5" in tip(page)
    assert "wide/metrics.jsonl" in tip(page)
    assert page.value(f"document.querySelectorAll({json.dumps(CHART + ' .dot')}).length") == 2
    page.mouse("mouseMoved", 2, 2)
    assert page.value("document.querySelector('figure[data-panel=\"0\"] .tip').hidden")


@pytest.mark.accepts("R33")
def test_dragging_zooms_and_a_double_click_goes_back(page: Page) -> None:
    before = ticks(page)
    x, y, width, height = page.box(CHART)
    left, inner = x + 56, width - 66
    page.drag((left + inner * 0.5, y + height / 2), (left + inner * 0.6, y + height / 2))
    zoomed = ticks(page)
    assert zoomed != before
    steps = [float(text.replace(",", "")) for text in zoomed]
    assert [step for step in steps if step > 10]
    assert all(1490 <= step <= 1810 for step in steps if step > 10)
    assert page.value("!document.querySelector('figure[data-panel=\"0\"] figcaption button').hidden")
    page.click(CHART, clicks=2)
    assert ticks(page) == before
    page.drag((left + 100, y + height / 2), (left + 103, y + height / 2))  # a hand that trembles zooms nothing
    assert ticks(page) == before


@pytest.mark.accepts("R33")
def test_a_log_scale_tells_what_it_cannot_show(page: Page) -> None:
    curve = f"document.querySelector({json.dumps(TWO_CURVES)}).getAttribute('d')"
    linear = page.value(curve)
    page.click("#log")
    assert page.value(curve) != linear
    page.box("figure[data-panel='2']")
    page.wait_for("document.querySelector('figure[data-panel=\"2\"]').innerText.includes('2 of 0 or less not shown')")
    page.click("#log")
    assert page.value(curve) == linear


@pytest.mark.accepts("R33")
def test_runs_are_hidden_by_the_legend_and_metrics_found_by_name(page: Page) -> None:
    count = f"document.querySelectorAll({json.dumps(TWO_CURVES)}).length"
    page.click("#legend button:nth-child(2)")
    assert page.value(count) == 1
    assert page.value("document.querySelector('#legend button:nth-child(2)').getAttribute('aria-pressed')") == "false"
    page.click("#legend button:nth-child(2)")
    assert page.value(count) == 2
    shown = "[...document.querySelectorAll('figure')].filter(f => f.offsetParent).length"
    choose(page, "filter", "input", "ACC")
    assert page.value(shown) == 1
    choose(page, "filter", "input", "")
    assert page.value(shown) == 3


@pytest.mark.accepts("R33")
def test_keys_do_what_the_pointer_does(page: Page) -> None:
    page.value(f"document.querySelector({json.dumps(CHART)}).focus()")
    page.press("ArrowRight")
    first = tip(page)
    assert "step " in first
    page.press("ArrowRight")
    assert tip(page) != first
    page.press("Escape")
    assert page.value("document.querySelector('figure[data-panel=\"0\"] .tip').hidden")


@pytest.mark.accepts("R33")
def test_curves_over_time(page: Page) -> None:
    choose(page, "axis", "change", "time")
    assert any(text.endswith(" m") for text in ticks(page))
    choose(page, "axis", "change", "step")
    assert not any(text.endswith(" m") for text in ticks(page))


@pytest.mark.accepts("R33")
@pytest.mark.parametrize("dark", [False, True])
def test_light_and_dark_follow_the_system_and_the_switch(browser: Browser, file: Path, dark: bool) -> None:
    page = browser.page(file, dark=dark)
    page.value("localStorage.clear()")
    ground = "getComputedStyle(document.body).backgroundColor"
    light_ground, dark_ground = "rgb(255, 255, 255)", "rgb(18, 22, 27)"
    assert page.value(ground) == (dark_ground if dark else light_ground)
    page.click("#theme")
    assert page.value(ground) == light_ground
    page.click("#theme")
    assert page.value(ground) == dark_ground
    page.value("localStorage.clear()")


@pytest.mark.accepts("R33")
def test_it_is_readable_on_a_phone(browser: Browser, file: Path) -> None:
    page = browser.page(file, width=390, height=844, touch=True)
    page.box("figure[data-panel='0']")
    page.wait_for(f"document.querySelectorAll({json.dumps(TWO_CURVES)}).length === 2")
    assert page.value("document.documentElement.scrollWidth") <= 390
    assert page.value("document.querySelector('figure').getBoundingClientRect().width") > 340
    assert page.value("parseFloat(getComputedStyle(document.body).fontSize)") >= 14


@pytest.mark.accepts("R33")
def test_hostile_names_do_nothing(browser: Browser, tmp_path: Path) -> None:
    hostile = run(tmp_path, "x", 1.0, **{HOSTILE: 1.0})
    made = report.report([hostile], title=HOSTILE)
    (tmp_path / "r.html").write_text(made.html, encoding="utf-8")
    page = browser.page(tmp_path / "r.html")
    page.wait_for("document.querySelectorAll('.line[data-run]').length > 0")
    x, y, width, height = page.box("figure[data-panel='3'] .plot svg")
    page.mouse("mouseMoved", x + width / 2, y + height / 2)
    assert page.value("document.querySelectorAll('img').length") == 0
    assert page.value("document.querySelector('h1').textContent") == HOSTILE
    assert page.value("document.title") == HOSTILE
    assert page.complaints() == []
    assert page.requests() == [(tmp_path / "r.html").resolve().as_uri()]


@pytest.mark.accepts("R33")
def test_a_picture_of_it_shows_curves(page: Page, tmp_path: Path) -> None:
    """Pixels of both runs' colours are on the screen. `STOKER_REPORT_PICTURE` names a file to keep the picture in."""
    page.box("figure[data-panel='1']")
    colours = pixels(page.screenshot(Path(os.environ.get("STOKER_REPORT_PICTURE", tmp_path / "page.png"))))
    assert sum(colours.get(colour, 0) for colour in ((0x0B, 0x62, 0xC4), (0xC2, 0x41, 0x0C))) > 300
    assert colours.get((0x0B, 0x62, 0xC4), 0) > 50
    assert colours.get((0xC2, 0x41, 0x0C), 0) > 50


def pixels(picture: Path) -> dict[tuple[int, int, int], int]:
    """How often each colour is in a PNG of 8 bits without interlacing, as Chromium writes it."""
    data, at, packed = picture.read_bytes(), 8, b""
    width = channels = 0
    while at < len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        body = data[at + 8 : at + 8 + length]
        if kind == b"IHDR":
            width, channels = int.from_bytes(body[:4], "big"), {2: 3, 6: 4}[body[9]]
        packed += body if kind == b"IDAT" else b""
        at += 12 + length
    raw, stride, before = zlib.decompress(packed), width * channels, bytearray(width * channels)
    counted: dict[tuple[int, int, int], int] = {}
    for start in range(0, len(raw), stride + 1):
        line = _unfiltered(raw[start], bytearray(raw[start + 1 : start + 1 + stride]), before, channels)
        for x in range(0, stride, channels):
            colour = (line[x], line[x + 1], line[x + 2])
            counted[colour] = counted.get(colour, 0) + 1
        before = line
    return counted


def _unfiltered(kind: int, line: bytearray, above: bytearray, size: int) -> bytearray:
    for x in range(len(line)):
        left = line[x - size] if x >= size else 0
        corner = above[x - size] if x >= size else 0
        if kind == 1:
            line[x] = (line[x] + left) & 255
        elif kind == 2:
            line[x] = (line[x] + above[x]) & 255
        elif kind == 3:
            line[x] = (line[x] + (left + above[x]) // 2) & 255
        elif kind == 4:
            guess = left + above[x] - corner
            near = min(
                (abs(guess - left), 0, left), (abs(guess - above[x]), 1, above[x]), (abs(guess - corner), 2, corner)
            )
            line[x] = (line[x] + near[2]) & 255
    return line
