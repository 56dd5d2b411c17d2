"""What a log says: errors with their lines, metrics, the last visible line; whatever is in it, however it arrives."""

from __future__ import annotations

import itertools
import json
import random
import re
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.stoker.fleet.plugins.module_utils import schemas
from ansible_collections.stoker.fleet.plugins.module_utils.log_metrics import SERIES_LIMIT, Metric
from ansible_collections.stoker.fleet.plugins.module_utils.logscan import (
    DEFAULT_PATTERNS,
    EXAMPLE_METRICS,
    LINE_LIMIT,
    LogScanner,
    safe_text,
)

ROOT = Path(__file__).resolve().parents[3]
CORPUS = Path(__file__).parent / "corpus"
EXAMPLES = ROOT / "examples/patterns.yml"


def scan(data: bytes, patterns: Any = None, metrics: Any = None) -> LogScanner:
    scanner = LogScanner(patterns, metrics)
    scanner.feed(data, 0)
    scanner.finish()
    return scanner


def found(scanner: LogScanner) -> list[tuple[int, str]]:
    return [(finding["line"], finding["name"]) for finding in scanner.findings]


def told(scanner: LogScanner) -> dict[str, Any]:
    """All that is reported of a log."""
    return {
        "findings": scanner.findings, "finding_counts": scanner.finding_counts, "metrics": scanner.metrics,
        "last_line": scanner.last_line, "long_lines": scanner.long_lines, "line": scanner.line,
        "position": scanner.position,
    }  # fmt: skip


GOLDEN = {
    "pytorch_oom": [(3, "traceback"), (10, "cuda-oom")],
    "pytorch_oom_old": [(1, "traceback"), (4, "cuda-oom")],
    "jax_oom": [(2, "traceback"), (5, "cuda-oom")],
    "nccl_timeout": [
        (2, "nccl"), (3, "nccl"), (4, "traceback"), (5, "traceback"), (10, "exception"), (11, "exception"),
        (12, "nccl"), (13, "traceback"), (16, "child-failed"),
    ],
    "segfault": [(1, "segfault"), (5, "segfault")],
    "bash_killed": [(2, "host-oom"), (3, "host-oom"), (4, "host-oom"), (5, "host-oom"), (6, "host-oom")],
    "cuda_error": [(1, "cuda-error"), (2, "cuda-error"), (3, "cuda-error"), (4, "cuda-error")],
    "system": [
        (1, "disk-full"), (2, "permission"), (3, "connection"), (4, "connection"), (5, "nan-loss"), (6, "nan-loss"),
        (7, "log-level"), (8, "log-level"), (9, "log-level"),
    ],
    "clean": [],
    "progress": [],
    "ansi": [(2, "log-level"), (3, "log-level")],
    "binary": [(2, "log-level")],
}  # fmt: skip


@pytest.mark.accepts("D24")
@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_errors_of_the_corpus_are_found_with_line_and_severity(name: str) -> None:
    data = (CORPUS / f"{name}.log").read_bytes()
    scanner = scan(data)
    assert found(scanner) == GOLDEN[name]
    severities = {pattern["name"]: pattern["severity"] for pattern in DEFAULT_PATTERNS}
    for finding in scanner.findings:
        assert finding["severity"] == severities[finding["name"]]
        assert data[: finding["offset"]].count(b"\n") == finding["line"] - 1
        assert finding["text"].isprintable()


def test_every_log_of_the_corpus_is_used() -> None:
    assert {path.stem for path in CORPUS.glob("*.log")} == set(GOLDEN)


@pytest.mark.accepts("D24")
@pytest.mark.parametrize(
    "line",
    ["BLOOM", "zoom", "OOMph", "skilled", "0 errors", "error_rate: 0.1", "errors=0", "no errors", "without error",
     "ERRORS", "TERROR", "0 ERROR", "no ERROR", "ERROR: 0", "NONFATAL", "I Killed the bug", "MemoryErrorHandler",
     "nano loss: 1", "ValueError: but after no traceback"],
)  # fmt: skip
def test_words_that_only_look_like_errors_raise_nothing(line: str) -> None:
    assert found(scan(f"x {line} y\n{line}\n".encode())) == []


@pytest.mark.accepts("D24")
def test_patterns_of_a_yaml_file_are_added_and_replace_those_of_the_same_name() -> None:
    own = yaml.safe_load(EXAMPLES.read_text())["log_patterns"]
    scanner = scan(b"Gradient overflow.  Skipping step 3\nshard 7 is empty\nERROR x\n", own)
    assert found(scanner) == [(1, "gradient-overflow"), (2, "data-missing"), (3, "log-level")]
    assert [finding["severity"] for finding in scanner.findings] == ["warning", "error", "error"]
    replaced = [*own, {"name": "log-level", "regex": "^boom$"}]
    assert found(scan(b"ERROR x\nboom\n", replaced)) == [(2, "log-level")]


def test_the_example_file_is_the_example_set_and_a_valid_part_of_a_spec() -> None:
    example = yaml.safe_load(EXAMPLES.read_text())
    assert example["metrics"] == EXAMPLE_METRICS
    schemas.require({"schema": "stoker.spec/1", "job": "a", "uid": "u", "argv": ["true"], **example}, "stoker.spec")


@pytest.mark.accepts("D25")
def test_the_example_metrics_are_read_from_a_log() -> None:
    metrics = scan((CORPUS / "clean.log").read_bytes(), None, EXAMPLE_METRICS).metrics
    assert set(metrics) == {"loss", "val_loss", "accuracy", "learning_rate", "step"}
    assert metrics["val_loss"] == {
        "first": 1.5, "last": 1.3, "min": 1.1, "max": 1.5, "count": 3, "series": [[10, 1.5], [11, 1.1], [12, 1.3]],
    }  # fmt: skip
    assert metrics["loss"]["last"] == 0.8123
    assert (metrics["learning_rate"]["last"], metrics["learning_rate"]["series"]) == (1e-4, None)
    assert metrics["step"]["first"] == 10


@pytest.mark.accepts("D25")
def test_values_are_parsed_with_nan_infinity_and_exponents_and_told_as_json() -> None:
    metric = [{"name": "m", "regex": r"m=(\S+)", "keep": "series"}]
    seen = scan(b"m=nan\nm=1e-3\nm=-inf\nm=word\nm=inf\nm=2 m=9\n", None, metric).metrics["m"]
    assert seen["series"] == [[1, "nan"], [2, 0.001], [3, "-inf"], [5, "inf"], [6, 2.0]]
    assert (seen["first"], seen["last"], seen["min"], seen["max"], seen["count"]) == ("nan", 2.0, "-inf", "inf", 5)
    json.dumps(seen, allow_nan=False)
    assert scan(b"m=nan\n", None, metric).metrics["m"]["min"] is None


@pytest.mark.accepts("D25")
@pytest.mark.parametrize("count", [1, 2, 1995, 1996, 1997, 2000, 2001, 4500, 20000])
def test_a_series_is_thinned_but_keeps_its_ends_and_extremes(count: int) -> None:
    draw = random.Random(count)
    values = [draw.uniform(-5, 5) for _number in range(count)]
    metric = Metric("series")
    for line, value in enumerate(values, 1):
        metric.add(line, value)
    series = metric.report()["series"]
    points = [[line, value] for line, value in enumerate(values, 1)]
    lines = [line for line, _value in series]
    gaps = [after - before for before, after in itertools.pairwise(lines)]
    assert max(gaps, default=1) <= 1 + count // 500
    assert min(count, SERIES_LIMIT // 3) <= len(series) <= SERIES_LIMIT
    assert [line for line, _value in series] == sorted({line for line, _value in series})
    for kept in (points[0], points[-1], min(points, key=lambda p: p[1]), max(points, key=lambda p: p[1])):
        assert kept in series


PIECES = st.sampled_from(
    [path.read_bytes() for path in sorted(CORPUS.glob("*.log"))]
    + [b"\n", b"\r", b"\r\n", b"\x1b", b"[31m", b"ERR", b"OR x", b"\b\b", b"loss=1.5 ", b"step 3", b"Killed",
       b"\xff\xfe", b"Traceback (most recent call last):\n", b"[rank1]: ", b"ValueError: x\n",
       b"y" * (LINE_LIMIT - 2), b"zz", b" "]
)  # fmt: skip


@pytest.mark.accepts("D24", "D25")
@settings(max_examples=120, deadline=None)
@given(
    st.lists(PIECES, max_size=14).map(b"".join), st.data(), st.sampled_from([None, EXAMPLE_METRICS]),
    st.sampled_from([None, [{"name": "log-level", "regex": "RR.R"}, {"name": "y", "regex": "yy$"}]]),
)  # fmt: skip
def test_the_result_does_not_depend_on_how_the_log_was_cut(data: bytes, draw: Any, metrics: Any, own: Any) -> None:
    scanner = LogScanner(own, metrics)
    for cut in [*sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=8))), len(data)]:
        overlap = draw.draw(st.integers(0, 3))
        begin = max(0, scanner.position - overlap)
        scanner.feed(data[begin:cut] if cut > begin else b"", begin)
        scanner = LogScanner(own, metrics, json.loads(json.dumps(scanner.state(), allow_nan=False)))
    scanner.finish()
    assert told(scanner) == told(scan(data, own, metrics))


@pytest.mark.accepts("D24")
@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_byte_by_byte_with_saved_state_is_the_same(name: str) -> None:
    data = (CORPUS / f"{name}.log").read_bytes()
    state = None
    for offset in range(len(data)):
        scanner = LogScanner(None, EXAMPLE_METRICS, state)
        scanner.feed(data[offset : offset + 1], offset)
        state = json.loads(json.dumps(scanner.state()))
    last = LogScanner(None, EXAMPLE_METRICS, state)
    last.finish()
    assert told(last) == told(scan(data, None, EXAMPLE_METRICS))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([b"out=a ", b"out=", b"b\n", b"\r", b"\xff", b"\x1b[31m"]), max_size=12).map(b"".join),
    st.data(),
)
def test_outputs_are_the_texts_found_last_however_the_log_was_cut(data: bytes, draw: Any) -> None:
    outputs = [{"name": "o", "regex": "out=(?P<value>[^=]*)"}]
    whole = LogScanner(outputs=outputs)
    whole.feed(data, 0)
    whole.finish()
    scanner = LogScanner(outputs=outputs)
    for cut in [*sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=5))), len(data)]:
        scanner.feed(data[scanner.position : cut], scanner.position)
        scanner = LogScanner(None, None, json.loads(json.dumps(scanner.state())), outputs)
    scanner.finish()
    assert scanner.outputs == whole.outputs
    lines = [line for line in re.split("[\r\n]", safe_text(data.decode("utf-8", "replace"))) if "out=" in line]
    assert bool(whole.outputs) == bool(lines)


def test_of_several_outputs_the_last_one_counts() -> None:
    scanner = LogScanner(outputs=[{"name": "o", "regex": "out=(.*)"}, {"name": "never", "regex": "x(y)"}])
    scanner.feed(b"out=a\nout=b it's {{ c }}\nother\n", 0)
    scanner.finish()
    assert scanner.outputs == {"o": "b it's {{ c }}"}


def test_missing_bytes_are_an_error_not_a_guess() -> None:
    scanner = LogScanner()
    scanner.feed(b"abc", 0)
    with pytest.raises(ValueError, match="scanned up to byte 3, these bytes begin at 4"):
        scanner.feed(b"x", 4)


@pytest.mark.parametrize("chunk", [1 << 16, 1 << 24])
def test_a_line_of_10_mb_is_scanned_at_its_begin_and_counted(chunk: int) -> None:
    data = b"first\nERROR begin " + b"x" * 10_000_000 + b" FATAL end\nKilled\n"
    scanner = LogScanner()
    for offset in range(0, len(data), chunk):
        scanner.feed(data[offset : offset + chunk], offset)
        assert len(json.dumps(scanner.state())) < 100_000
    scanner.finish()
    assert found(scanner) == [(2, "log-level"), (3, "host-oom")]
    assert (scanner.long_lines, scanner.line, scanner.last_line) == (1, 4, "Killed")
    assert len(scanner.findings[0]["text"]) == 300


@pytest.mark.parametrize(("length", "long_lines"), [(LINE_LIMIT, 0), (LINE_LIMIT + 1, 1)])
def test_a_line_is_long_from_64_kib_on_however_it_comes(length: int, long_lines: int) -> None:
    data = b"x" * length + b"\nnext\n"
    pieces = LogScanner()
    for offset in range(0, len(data), 1000):
        pieces.feed(data[offset : offset + 1000], offset)
    assert (scan(data).long_lines, pieces.long_lines) == (long_lines, long_lines)


@pytest.mark.accepts("D24")
def test_the_exception_that_ends_a_traceback_is_told_even_if_nothing_follows() -> None:
    data = b"Traceback (most recent call last):\n  File 'x'\n\nmypkg.Oops: 3\nValueError: not part of it\nfine\n"
    assert found(scan(data)) == [(1, "traceback"), (4, "exception")]


def test_many_findings_are_counted_and_the_first_and_the_last_kept() -> None:
    scanner = scan(b"".join(b"ERROR %d x\n" % number for number in range(1, 1001)))
    assert scanner.finding_counts == {"log-level": 1000}
    assert [finding["line"] for finding in scanner.findings] == [*range(1, 51), 1000]
    assert len(json.dumps(scanner.state())) < 20_000


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"one\ntwo\n\n  \n", "two"),
        (b" 10%|#\r 20%|##\r\x1b[K", "20%|##"),
        (b"one\n 10%\r 20%", "20%"),
        (b"\x1b[32mgreen\x1b[0m\n\x1b[K\n", "green"),
        (b"1/3 [..]\b\b\b\b\b\b\b\b2/3 [=.]", "2/3 [=.]"),
        (b"a\x00b\x07\n", r"a\x00b\x07"),
        (b"", ""),
        (b"y" * 400, "y" * 299 + "…"),
    ],
)
def test_the_last_visible_line_is_told(data: bytes, shown: str) -> None:
    scanner = LogScanner()
    scanner.feed(data, 0)
    assert scanner.last_line == shown


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"\x1b[31mred\x1b[0m\ttab\nline", "red\ttab\nline"),
        (b"\x1b]0;title\x07x\x1b]8;;http://a\x1b\\y", "xy"),
        (b"\x1bcx\x1b(0y\x1b[?25lz", "xyz"),
        (b"a\x1b", r"a\x1b"),
        (b"\xc2\x9b31mx\x7f", r"\x9b31mx\x7f"),
        ("user\u202etxt.exe\u2066", r"user\u202etxt.exe\u2066"),
        ("a\u200bb\ufeff\u2063", r"a\u200bb\ufeff\u2063"),
        ("hi\U000e0049\U000e0147", r"hi\U000e0049\U000e0147"),
        ("\u06cc\u200c\U0001f468\u200d\U0001f680\u2764\ufe0f", "\u06cc\u200c\U0001f468\u200d\U0001f680\u2764\ufe0f"),
        ("\udc80", r"\udc80"),
        (b"\xff", "\ufffd"),
        (b"a\r\nb\rc", "a\nb\\x0dc"),
        ("é中🙂", "é中🙂"),
    ],
)
def test_text_is_made_safe_for_a_terminal(data: Any, shown: str) -> None:
    assert safe_text(data) == shown


@given(st.binary(max_size=200) | st.text(st.characters(), max_size=200), st.none() | st.integers(0, 50))
def test_safe_text_holds_nothing_that_a_terminal_obeys(data: Any, limit: int | None) -> None:
    text = safe_text(data, limit)
    assert limit is None or len(text) <= limit
    text.encode("utf-8")
    assert not [c for c in text if c not in "\n\t" and (ord(c) < 32 or 0x7F <= ord(c) < 0xA0)]
    assert not set(text) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f")


def test_a_regex_that_would_take_for_ever_is_given_up_and_named() -> None:
    begin = time.process_time()
    scanner = scan(b"a" * 60 + b"!\nERROR x\n", [{"name": "bad", "regex": "(a+)+$"}])
    assert time.process_time() - begin < 30
    assert scanner.slow == ["bad"]
    assert found(scanner) == [(2, "log-level")]
    assert LogScanner([{"name": "bad", "regex": "(a+)+$"}], None, scanner.state()).slow == ["bad"]


def test_each_default_pattern_says_a_literal_that_its_matches_hold() -> None:
    # Without the needle the block search would pass over a line that the regex matches.
    lines = b"\n".join(path.read_bytes() for path in CORPUS.glob("*.log")).decode("utf-8", "replace").splitlines()
    for pattern in DEFAULT_PATTERNS:
        for line in lines:
            if pattern["needles"] and re.search(pattern["regex"], line):
                assert any(needle in line for needle in pattern["needles"]), (pattern["name"], line)


LINKED = """\
wandb: \x1b[33mW&B\x1b[0m syncing is on
wandb: 🚀 View run at https://wandb.ai/me/pine/runs/k3v9q2aa
wandb: 🚀 View run \x1b[33mwide at night\x1b[0m at: \x1b[34mhttps://wandb.ai/me/pine/runs/k3v9q2aa\x1b[0m
wandb: View run at https://wandb.example.org:8443/me/pine/runs/anon?apiKey=0123456789
🏃 View run wide at: http://someone:hunter2@10.0.0.7:5000/#/experiments/1/runs/8eca5af2c2b14ee9
🧪 View experiment at: http://10.0.0.7:5000/#/experiments/1
wandb: wandb sync /srv/my runs/wandb/offline-run-20260101_120000-p0m4x7bb
View run at https://example.org/runs/3 and wandb sync offline-run-1 are no addresses of runs
"""
KEPT = [
    ("wandb", "https://wandb.ai/me/pine/runs/k3v9q2aa", None),
    ("wandb", "https://wandb.example.org:8443/me/pine/runs/anon", None),
    ("mlflow", "http://10.0.0.7:5000/#/experiments/1/runs/8eca5af2c2b14ee9", None),
    ("wandb", None, "/srv/my runs/wandb/offline-run-20260101_120000-p0m4x7bb"),
]


@pytest.mark.accepts("V38")
@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
def test_where_trackers_keep_runs_is_told_without_keys_and_logins(size: int) -> None:
    data, state, end = LINKED.encode(), None, 0
    while end < len(data):
        scanner = LogScanner(state=json.loads(json.dumps(state)) if state else None)
        scanner.feed(data[end : end + size], end)
        state, end = scanner.state(), end + size
    scanner.finish()
    assert [(link["tracker"], link["url"], link["folder"]) for link in scanner.trackers] == KEPT


@pytest.mark.accepts("V38")
def test_many_runs_of_one_job_are_bounded() -> None:
    lines = "".join(f"wandb: View run at https://wandb.ai/me/pine/runs/{number}\n" for number in range(1000))
    assert [link["url"][-2:] for link in scan(lines.encode()).trackers] == [f"/{n}"[-2:] for n in range(20)]


def test_what_is_reported_fits_the_observation() -> None:
    scanner = scan((CORPUS / "system.log").read_bytes(), None, EXAMPLE_METRICS)
    document = {
        "schema": "stoker.observation/1", "job": "a", "attempt": 1, "state": "running", "findings": scanner.findings,
        "finding_counts": scanner.finding_counts, "metrics": scanner.metrics, "last_line": scanner.last_line,
        "trackers": scan(LINKED.encode()).trackers,
    }  # fmt: skip
    assert schemas.require(document, "stoker.observation") == document
