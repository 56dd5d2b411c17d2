# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on servers: MLflow's own, written to by its own client, and a W&B server's GraphQL as its client asks it."""

from __future__ import annotations

import json
import math
import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from asked import Asked

from stoker.analysis import Run, read, runs_in
from stoker.analysis.errors import Unreadable
from stoker.analysis.servers import asking, mlflow, named, wandb
from tests.contracts.wandb_server import WandbServer

KEY = "0123456789abcdef0123456789abcdef01234567"


def on(address: str) -> dict[str | None, Run]:
    place = named(address, Path())
    assert place is not None
    return {found.info.name: read(found) for found in runs_in(place)}


def same_points(one: Run, two: Run) -> None:
    assert one.metrics.keys() == two.metrics.keys()
    for name, metric in one.metrics.items():
        assert metric.steps.tolist() == two.metrics[name].steps.tolist()
        assert repr(metric.values.tolist()) == repr(two.metrics[name].values.tolist())


@pytest.fixture(scope="module")
def mlflow_server(stores: Path, write_store: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """MLflow's server with what MLflow's client sent to it."""
    folder = tmp_path_factory.mktemp("mlflow-server")
    program = Path(__file__).parent / "writing/mlflow_server.py"
    argv = [stores, program, f"sqlite:///{folder}/m.db", folder / "art"]
    with (folder / "log").open("wb") as log, subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=log) as process:
        assert process.stdout is not None
        try:
            url = process.stdout.readline().decode().strip()
            assert url, (folder / "log").read_text()
            write_store("store_runs", "mlflow", url)
            yield url
        finally:
            process.kill()


@pytest.mark.accepts("R34")
def test_the_server_gives_the_run_that_the_stores_give(
    mlflow_server: str, write_store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_store("store_runs", "mlflow", (tmp_path / "mlruns").as_uri())
    write_store("store_runs", "mlflow", f"sqlite:///{tmp_path}/store.db")
    files = {found.info.name: read(found) for found in runs_in(tmp_path / "mlruns")}
    store = {found.info.name: read(found) for found in runs_in(tmp_path / "store.db")}
    for page in (25_000, 3):
        monkeypatch.setattr(mlflow, "POINTS_PAGE", page)
        monkeypatch.setattr(mlflow, "RUNS_PAGE", 1 if page == 3 else 1000)
        monkeypatch.setattr(mlflow, "EXPERIMENTS_PAGE", 1 if page == 3 else 1000)
        served = on(f"mlflow:{mlflow_server}")
        assert set(served) == set(files) == set(store) == {"wide", "broken", "going"}
        for name, run in served.items():
            for other in (files[name], store[name]):
                same_points(run, other)
                for field in ("kind", "name", "project", "notes", "commit", "tags", "state", "config"):
                    assert getattr(run.info, field) == getattr(other.info, field), field
    assert math.isnan(served["wide"].metrics["odd"].values[3])
    assert served["wide"].metrics["odd"].values[4] == math.inf


@pytest.mark.accepts("R34")
def test_commands_take_a_server_for_a_folder(
    mlflow_server: str, stoker: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"mlflow:{mlflow_server}"
    listed = stoker("list", address, "--json").value["runs"]
    wide = next(run for run in listed if run["name"] == "wide")
    assert "train/loss 0.05" in stoker("summary", "wide", "--folder", address).out
    page = f"mlflow:{wide['segments'][0]}"
    assert stoker("stats", page, "-k", "val/acc", "--json").value["metrics"][0]["best"] == {"step": 15, "value": 0.75}
    assert stoker("best", "train/loss", address, "--json").value["runs"][0]["info"]["name"] == "wide"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    assert len(stoker("list", "mlflow:", "--state", "finished", "--json").value["runs"]) == 1
    looked = stoker("watch", "wide", "--folder", "mlflow:", "--once", "--json")
    assert looked.value["rows"][-1]["step"] == 19


@pytest.mark.accepts("R34", "R25")
@pytest.mark.parametrize(
    ("address", "code", "said"),
    [
        ("mlflow:http://127.0.0.1:9", 1, "http://127.0.0.1:9 cannot be asked: "),
        ("mlflow:ftp://x", 2, "'ftp://x' is no address that begins with http:// or https://"),
        ("mlflow:http://me:secret@127.0.0.1:9", 2, "a password in an address is seen by everybody"),
        ("mlflow:", 2, "'mlflow:' names no server"),
        ("wandb:", 2, "'wandb:' names no project"),
        ("wandb:a/b/c/d", 2, "'wandb:a/b/c/d' is no wandb:ENTITY/PROJECT"),
    ],
)
def test_half_an_address_is_refused(
    address: str, code: int, said: str, stoker: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    answer = stoker("list", address)
    assert (answer.code, answer.out) == (code, "")
    assert said in answer.err
    assert "secret" not in answer.err


def row(step: int) -> dict[str, Any]:
    loss: Any = "NaN" if step == 7 else "-Infinity" if step == 8 else 1 / (step + 1)
    more = {"val/acc": step / 40} if step % 5 == 0 else {}
    return {"_step": step, "_timestamp": 1.7e9 + step, "loss": loss, "nested": {"a": step}, "text": "x", **more}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[WandbServer]:
    served = WandbServer(KEY)
    served.add("a1", "finished", [row(step) for step in range(40)], {"lr": 0.001, "model": {"depth": 12}},
               displayName="wide", group="g", tags=["one"], notes="what a day", commit="4f1c2aa")  # fmt: skip
    served.add("b2", "crashed", [row(step) for step in range(0, 30, 3)], {"lr": 0.01})
    served.add("c3", "running", [], {"lr": 0.1})
    for name in ("WANDB_ENTITY", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_BASE_URL", served.url)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    yield served
    served.close()


@pytest.mark.accepts("R20")
@pytest.mark.parametrize(("rows", "runs"), [(10_000, 50), (7, 1)])
def test_every_row_comes_whatever_the_pages(
    server: WandbServer, rows: int, runs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wandb, "ROWS_PAGE", rows)
    monkeypatch.setattr(wandb, "RUNS_PAGE", runs)
    found = on("wandb:me/pine")
    assert set(found) == {"wide", "b2", "c3"}
    run = found["wide"]
    assert run.metrics["loss"].steps.tolist() == list(range(40))
    values = run.metrics["loss"].values.tolist()
    assert math.isnan(values[7])
    assert values[8] == -math.inf
    assert values[9:] == [1 / (step + 1) for step in range(9, 40)]
    assert run.metrics["val/acc"].steps.tolist() == list(range(0, 40, 5))
    assert run.metrics["nested.a"].values.tolist() == list(range(40))
    assert run.metrics["loss"].times is not None
    assert run.metrics["loss"].times[3] == 1.7e9 + 3
    info = run.info
    assert (info.kind, info.id, info.project, info.group, info.tags) == ("wandb", "a1", "pine", "g", ("one",))
    assert (info.notes, info.commit, info.config) == ("what a day", "4f1c2aa", {"lr": 0.001, "model": {"depth": 12}})
    assert (info.state.name, found["b2"].info.state.name, found["c3"].info.state.name) == (
        "finished", "unfinished", "running",
    )  # fmt: skip
    assert found["b2"].info.state.evidence == "W&B says crashed: nobody saw it end"
    assert found["c3"].metrics == {}
    assert run.skipped == {"value that is no number (text)": 40}


@pytest.mark.accepts("R20")
def test_it_is_what_their_own_client_reads(server: WandbServer, writers: Path) -> None:
    """What holds our questions to a schema holds theirs to it, too: the replies are those that W&B's client wants."""
    program = Path(__file__).parent / "writing/wandb_api.py"
    env = {**os.environ, "WANDB_ERROR_REPORTING": "false", "HOME": os.environ["NETRC"] + "-home"}
    ended = subprocess.run(
        [writers, program, "me/pine"], env=env, capture_output=True, text=True, timeout=250, check=False
    )
    assert ended.returncode == 0, ended.stderr
    theirs, ours = json.loads(ended.stdout), on("wandb:me/pine")
    assert set(theirs) == set(ours)
    for name, run in ours.items():
        assert theirs[name]["id"] == run.info.id
        assert theirs[name]["config"] == run.info.config
        rows = [[float(step), float(value)] for step, value in theirs[name]["rows"]]
        loss = run.metrics.get("loss")
        assert repr(rows) == repr(
            [] if loss is None else [list(p) for p in zip(loss.steps.tolist(), loss.values.tolist(), strict=True)]
        )


@pytest.mark.accepts("R20")
def test_the_questions_of_runs(server: WandbServer, stoker: Asked) -> None:
    listed = stoker("list", "wandb:me/pine")
    assert (listed.code, "wide" in listed.out, "unfinished" in listed.out) == (0, True, True)
    names = [run["id"] for run in stoker("list", "wandb:pine", "--state", "finished", "--json").value["runs"]]
    assert names == ["a1"]  # whose it is, is what the key says
    assert "loss 0.025" in stoker("summary", "wandb:me/pine/a1").out
    assert len(stoker("history", "wide", "--folder", "wandb:me/pine", "--all", "--json").value["rows"]) == 40
    best = stoker("best", "val/acc", "wandb:me/pine", "--max", "--json").value
    assert [(one["info"]["id"], one["best"]) for one in best["runs"]] == [
        ("a1", {"step": 35, "value": 0.875}), ("b2", {"step": 15, "value": 0.375}),
    ]  # fmt: skip
    assert best["without"] == 1
    compared = stoker("compare", "a1", "b2", "--folder", "wandb:me/pine", "--json").value
    assert {one["key"] for one in compared["config"]} == {"lr", "model.depth"}
    assert stoker("query", "config.lr < 0.005", "wandb:me/pine", "--json").value["runs"][0]["info"]["id"] == "a1"
    missing = stoker("summary", "wandb:me/pine/zz")
    assert (missing.code, "wandb:me/pine has no run 'zz'" in missing.err) == (2, True)
    assert "there is no project wandb:me/oak, or this key may not see it" in stoker("list", "wandb:me/oak").err


@pytest.mark.accepts("R20")
def test_the_project_is_found(server: WandbServer, stoker: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Path("wandb/settings")
    settings.parent.mkdir()
    settings.write_text(f"[default]\nentity = me\nproject = pine\nbase_url = {server.url}\n")
    monkeypatch.delenv("WANDB_BASE_URL")
    assert len(stoker("list", "wandb:", "--json").value["runs"]) == 3
    monkeypatch.setenv("WANDB_PROJECT", "oak")
    assert "there is no project wandb:me/oak" in stoker("list", "wandb:").err


@pytest.mark.accepts("R20")
def test_the_key_is_of_the_environment_or_netrc_and_is_shown_nowhere(
    server: WandbServer, stoker: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY")
    refused = stoker("list", "wandb:me/pine")
    assert (refused.code, refused.out) == (1, "")
    assert "refused (401): user is not logged in" in refused.err
    assert "next: set WANDB_API_KEY" in refused.err
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1\n  login user\n  password {KEY}\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    assert stoker("list", "wandb:me/pine").code == 1  # W&B's user is always called api
    netrc.write_text(f"machine 127.0.0.1\n  login api\n  password {KEY}\n")
    listed = stoker("list", "wandb:me/pine", "--json")
    assert listed.code == 0
    assert KEY not in listed.out + listed.err
    assert all(KEY not in json.dumps(question) for question in server.asked)
    netrc.write_text(f"machine 127.0.0.1 password {KEY} nonsense")
    wrong = stoker("list", "wandb:me/pine")
    assert (wrong.code, KEY in wrong.err, "netrc cannot be read" in wrong.err) == (1, False, True)


@pytest.mark.accepts("R20")
@pytest.mark.parametrize("pause", ["0", "\u00b2", "-1", "Wed, 21 Oct 2026 07:28:00 GMT"])
def test_the_patience_with_a_busy_server_has_an_end(
    server: WandbServer, stoker: Asked, monkeypatch: pytest.MonkeyPatch, pause: str
) -> None:
    monkeypatch.setattr(asking, "PATIENCE_S", 0.2)
    monkeypatch.setattr(asking, "LEAST_WAIT_S", 0.1)
    server.busy, server.pause = 1000, pause
    said = stoker("list", "wandb:me/pine")
    assert (said.code, server.turned_away) == (1, 3)
    assert "refused (429)" in said.err


@pytest.mark.accepts("R34")
@pytest.mark.parametrize(
    "body",
    [
        {"experiments": [{"experiment_id": "1"}], "runs": [{"info": {"run_id": "a"}}, None]},
        {"experiments": [{"experiment_id": "1"}], "runs": "abc"},
        {"experiments": [{"experiment_id": "1"}], "runs": [{"info": 7}]},
        {"experiments": [{"experiment_id": "1"}], "runs": [{"data": {"tags": [None]}}]},
        {"experiments": 7},
    ],
)
def test_an_answer_that_makes_no_sense_is_said_to_make_none(body: dict[str, Any], stoker: Asked) -> None:
    class Odd(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        do_POST = do_GET  # noqa: N815  the name is http.server's

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Odd) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        try:
            said = stoker("list", f"mlflow:http://127.0.0.1:{served.server_address[1]}")
        finally:
            served.shutdown()
            thread.join()
    assert (said.code, said.out, "said what makes no sense" in said.err) == (1, "", True)


@pytest.mark.accepts("R20")
@pytest.mark.parametrize("cursor", [None, "1"])
def test_a_list_that_does_not_go_on_is_not_taken_for_all(
    server: WandbServer, stoker: Asked, cursor: str | None
) -> None:
    server.stuck = (cursor,)
    said = stoker("list", "wandb:me/pine")
    assert (said.code, said.out, "said what makes no sense" in said.err) == (1, "", True)


@pytest.mark.accepts("R20")
def test_a_server_that_is_busy_or_odd(server: WandbServer, stoker: Asked) -> None:
    server.busy = 2
    assert stoker("list", "wandb:me/pine").code == 0
    for odd in (b"", b"<html>", b"[]", b'{"data": null, "errors": [{"message": "x\\u001b[31m"}]}', b'{"data": 7}'):
        server.broken = odd
        said = stoker("list", "wandb:me/pine")
        assert (said.code in (1, 2), said.out, "\x1b" in said.err) == (True, "", False), odd


@pytest.mark.accepts("R34")
@pytest.mark.parametrize("of", ["experiments/search", "runs/search", "metrics/get-history"])
def test_a_server_that_names_the_same_next_page_for_ever_is_left_with_a_sentence(of: str) -> None:
    run = {"info": {"run_id": "r", "experiment_id": "1"}, "data": {"metrics": [{"key": "loss", "value": 1.0}]}}
    answers: dict[str, dict[str, Any]] = {
        "experiments/search": {"experiments": [{"experiment_id": "1", "name": "one"}]},
        "runs/search": {"runs": [run]}, "runs/get": {"run": run}, "metrics/get-history": {"metrics": []},
    }  # fmt: skip
    answers[of]["next_page_token"] = "again"

    class Repeating(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            name = self.path.partition("?")[0].removeprefix("/api/2.0/mlflow/")
            body = json.dumps(answers[name]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *args: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Repeating) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            with pytest.raises(Unreadable, match="a page that it sent before comes next"):
                on(f"mlflow:http://127.0.0.1:{server.server_port}")
        finally:
            server.shutdown()
