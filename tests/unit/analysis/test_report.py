# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as a file. What it looks like in a browser: tests/integration/test_report_page.py."""

from __future__ import annotations

import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asked import Asked, jsonl, the_run
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.stoker.fleet.plugins.module_utils.readers import wandb_file
from stoker.analysis import AnalysisError, Metric, read, report, runs_in
from stoker.analysis.curves import MOST_POINTS, envelope

HOSTILE = '</script><script>alert(1)</script><img src=x onerror=alert(2)>\u202e\x1b[31m\' onclick="x" <!--'


class Tags(HTMLParser):
    """Every element of a page with its attributes, and the text beside its scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.text += " " * (tag in ("td", "th"))

    def handle_data(self, data: str) -> None:
        self.text += data


def data_of(page: str) -> Any:
    return json.loads(page.partition('id="data">')[2].partition("</script>")[0])


@given(
    values=st.lists(st.floats(), min_size=1, max_size=400).map(lambda numbers: np.array(numbers, dtype=np.float64)),
    count=st.integers(8, 100),
)
def test_thinned_curves_keep_ends_and_extremes(values: Any, count: int) -> None:
    metric = Metric("x", np.arange(len(values)) * 1.0, values)
    kept = envelope(metric, count)
    assert kept == sorted(set(kept))
    assert len(kept) <= max(count, 4)
    assert {0, len(values) - 1} <= set(kept)
    finite = values[np.isfinite(values)]
    if len(finite):
        assert {float(finite.min()), float(finite.max())} <= {float(v) for v in values[kept]}
    if not np.isfinite(values).all() and count >= 8:
        assert not np.isfinite(values[kept]).all()


def test_no_pixel_of_a_thinned_curve_is_lost() -> None:
    """Drawn 250 pixels wide, the lowest and highest of each column are those of all points."""
    random = np.random.default_rng(3)
    metric = Metric("x", np.arange(100_000.0), np.cumsum(random.normal(0, 1, 100_000)))
    kept = np.array(envelope(metric, 1000))
    for column in range(249):
        low, high = column * 100_000 // 249, (column + 1) * 100_000 // 249
        inside = metric.values[kept[(kept >= low - 402) & (kept < high + 402)]]
        assert inside.min() <= metric.values[low:high].min()
        assert inside.max() >= metric.values[low:high].max()


@pytest.mark.accepts("R33")
def test_a_report_names_no_address_and_lets_in_nothing(two: Path) -> None:
    page = report.report([the_run(two / "a"), the_run(two / "b")], compared=True, now=1.7e9).html
    assert "://" not in page
    assert "url(" not in page
    assert "@import" not in page
    found = Tags(page)
    assert {tag for tag, _ in found.tags} & {"link", "img", "iframe", "a", "base", "object", "form"} == set()
    assert not [
        at for _, attributes in found.tags for at in attributes if at in ("src", "href", "style") or at.startswith("on")
    ]
    (policy,) = [a["content"] for tag, a in found.tags if tag == "meta" and a.get("http-equiv")]
    assert policy is not None
    assert re.fullmatch(
        r"default-src 'none'; style-src 'sha256-\S+'; script-src 'sha256-\S+'; base-uri 'none'; form-action 'none'",
        policy,
    )
    assert "Made 2023-11-14 22:13 UTC" in found.text


@pytest.mark.accepts("R33")
def test_text_of_runs_is_text(tmp_path: Path, stoker: Asked) -> None:
    rows = [{"step": step, HOSTILE: 1.0 * step, f"{HOSTILE}/loss": 2.0} for step in range(5)]
    jsonl(tmp_path / "r" / "m.jsonl", rows)
    (tmp_path / "r" / "config.json").write_text(json.dumps({HOSTILE: HOSTILE}))
    (tmp_path / "r" / "stoker-metrics.yml").write_text(f"metrics: {json.dumps({HOSTILE: {'label': HOSTILE}})}")
    said = stoker("report", tmp_path / "r", "-o", tmp_path / "r.html", "--title", HOSTILE)
    assert said.code == 0
    page = (tmp_path / "r.html").read_text()
    tags = Tags(page).tags
    assert [tag for tag, _ in tags].count("script") == 2
    assert not [a for tag, a in tags if tag == "img" or any(name.startswith("on") for name in a)]
    assert not {"\u202e", "\x1b"} & set(page)
    assert page.count("&lt;/script&gt;&lt;script&gt;alert(1)") >= 5
    data = data_of(page)
    assert any("</script><script>alert(1)" in panel["name"] for panel in data["panels"])


@pytest.mark.accepts("R33")
def test_what_is_drawn_is_what_was_logged(tmp_path: Path, stoker: Asked) -> None:
    rows = [
        {"step": step * 10, "time": 1.7e9 + step / 2, "loss": float("nan") if step == 3 else 0.5 + step, "late": step}
        for step in range(6)
    ]
    del rows[0]["late"]
    path = jsonl(tmp_path / "m.jsonl", [*rows, '{"step": 60, "loss": "x", "late": 5}'])
    said = stoker("report", path, "-o", tmp_path / "r.html", "--json").value
    assert (said["metrics"], said["drawn"], said["total"], said["left_out"]) == (2, 12, 12, [])
    page = (tmp_path / "r.html").read_text()
    loss, late = data_of(page)["panels"]
    (curve,) = loss["curves"]
    assert curve["steps"] == [0, 10, 20, 30, 40, 50]
    assert curve["values"] == [0.5, 1.5, 2.5, None, 4.5, 5.5]
    assert curve["seconds"] == [0, 0.5, 1, 1.5, 2, 2.5]
    assert curve["odd"] == 1
    assert late["curves"][0]["steps"] == [10, 20, 30, 40, 50, 60]
    text = Tags(page).text
    assert "all 12 points are drawn" in text
    assert "skipped: 1 x value that is no number (text)" in text
    assert "1 NaN" in text


@pytest.mark.accepts("R33")
def test_the_size_is_bounded_and_that_is_said(tmp_path: Path, stoker: Asked) -> None:
    rows = [{"step": step, **{f"m{n}": math.sin(step * (n + 1)) for n in range(30)}} for step in range(4000)]
    path = jsonl(tmp_path / "m.jsonl", rows)
    said = stoker("report", path, "-o", tmp_path / "r.html", "--points", 100, "--json").value
    assert (said["total"], said["metrics"]) == (120_000, 30)
    assert 30 * 50 <= said["drawn"] <= 3000
    assert said["bytes"] == (tmp_path / "r.html").stat().st_size < 300_000
    assert re.search(r"of 120,000 points are drawn: 100 points a curve at most", (tmp_path / "r.html").read_text())
    curves = [panel["curves"][0] for panel in data_of((tmp_path / "r.html").read_text())["panels"]]
    assert all(max(curve["values"]) > 0.999 for curve in curves)


def test_more_metrics_than_there_is_room_for_are_left_out_and_counted(tmp_path: Path) -> None:
    count = MOST_POINTS // 50 + 10
    path = jsonl(
        tmp_path / "m.jsonl", [{"step": s, "z/loss": s, **{f"n{n}": s for n in range(count)}} for s in range(2)]
    )
    made = report.report([the_run(path)])
    assert len(made.panels.left_out) == 11
    assert made.panels.panels[0].name == "z/loss"
    assert "11 metrics found no room" in Tags(made.html).text


@pytest.mark.accepts("R33")
def test_a_comparison_says_what_is_better(two: Path, stoker: Asked, tmp_path: Path) -> None:
    said = stoker("report", two / "a", two / "b", "--compare", "-o", tmp_path / "r.html")
    assert said.code == 0
    assert "2 runs, 4 metrics" in said.out
    text = " ".join(Tags((tmp_path / "r.html").read_text()).text.split())
    assert "A: a/metrics.jsonl, B: b/metrics.jsonl" in text
    assert re.search(r"val/loss 300 at 1,000 650 at 2,000 \+116\.7% A 0 at 700 0 at 700", text)
    assert "4 of 4 metrics are compared at different steps" in text
    assert re.search(r"Settings that differ .* model\.depth 12 24", text)
    assert "2 that are the same" in text


@pytest.mark.accepts("R33")
def test_bad_questions_are_refused_and_nothing_else_is_written_over(two: Path, stoker: Asked, tmp_path: Path) -> None:
    mine = tmp_path / "mine.html"
    mine.write_text("<!doctype html>mine")
    for asked, words in (
        (("-o", mine), "is there, and no report"), (("-o", tmp_path / "no" / "r.html"), "there is no folder"),
        (("-o", tmp_path), "cannot be written"), (("--compare",), "--compare needs two runs"),
        (("--points", 3), "--points: 3"), (("-k", "val/los"), "Did you mean val/loss"),
    ):  # fmt: skip
        said = stoker("report", two / "a", *asked)
        assert (said.code, said.out) == (2, ""), asked
        assert words in said.err
    assert mine.read_text() == "<!doctype html>mine"
    assert not Path("report.html").exists()
    for _ in range(2):
        assert stoker("report", two / "a").code == 0
    assert [path.name for path in Path().iterdir()] == ["report.html"]
    with pytest.raises(AnalysisError, match="0 runs"):
        report.report([])


def test_what_was_printed_is_in_it_only_when_it_is_asked_for(tmp_path: Path, stoker: Asked) -> None:
    (tmp_path / "train.log").write_text("step 1 loss 2.0\nsecret <b>token</b>\nstep 2 loss 1.0\n")
    stoker("report", tmp_path, "-o", tmp_path / "r.html")
    assert "secret" not in (tmp_path / "r.html").read_text()
    stoker("report", tmp_path, "-o", tmp_path / "r.html", "--log", 2)
    page = (tmp_path / "r.html").read_text()
    assert "secret &lt;b&gt;token" in page
    assert "loss 2.0" not in page


def test_many_metrics_are_in_groups(tmp_path: Path) -> None:
    few = [{"step": s, **{f"g{n % 3}/m{n}": s for n in range(12)}} for s in range(2)]
    many = [{"step": s, **{f"g{n % 3}/m{n}": s for n in range(13)}} for s in range(2)]
    assert "<h3>" not in report.report([the_run(jsonl(tmp_path / "few.jsonl", few))]).html
    assert report.report([the_run(jsonl(tmp_path / "many.jsonl", many))]).html.count("<h3><bdi>g") == 3


def test_where_the_files_lie_is_not_in_it(tmp_path: Path) -> None:
    run = tmp_path / "real" / "run-1"
    (run / "files").mkdir(parents=True)
    (run / "run-x.wandb").write_bytes(wandb_file.HEADER)
    (run / "files" / "output.log").write_text("hello\n")
    (run / "files" / "wandb-summary.json").write_text("{}")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    folder = tmp_path / "exported" / ("f" * 100)
    folder.mkdir(parents=True)
    (folder / "SAN-1_part_0.parquet").write_bytes(b"PAR1 and nothing more")
    for where in (tmp_path / "real", tmp_path / "link", folder):
        (found,) = runs_in(where)
        remarks = read(found).remarks
        page = report.report([read(found)]).html
        assert str(tmp_path) not in page
        if where == folder:
            assert "it cannot be read as Parquet" in page
            assert str(tmp_path) not in " ".join(remarks)
        else:
            assert any(str(where) in remark for remark in remarks)
            assert "last values are in files/wandb-summary.json" in page
            assert "stoker runs summary files/output.log" in page
