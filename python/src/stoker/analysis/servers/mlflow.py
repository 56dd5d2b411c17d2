"""Runs of an MLflow tracking server, by its REST API 2.0. The same runs as its stores hold."""

from __future__ import annotations

import math
import os
import sys
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.stoker.fleet.plugins.module_utils.readers.reading import Reading
from ansible_collections.stoker.fleet.plugins.module_utils.readers.sqlite_store import (
    mlflow_state,
    mlflow_tags,
    put_points,
    setting,
)
from stoker.analysis.servers.address import Address
from stoker.analysis.servers.asking import Asker, an_object, basic, from_netrc, next_page, objects

_API = "/api/2.0/mlflow"
# The most that a server gives at once.
RUNS_PAGE, POINTS_PAGE, EXPERIMENTS_PAGE = 1000, 25_000, 1000
_CONNECT = "mlflow:http://HOST:5000 names the server; MLFLOW_TRACKING_TOKEN, or _USERNAME and _PASSWORD, the login"


class Mlflow:
    """A tracking server."""

    def __init__(self, address: Address, env: Mapping[str, str] = os.environ) -> None:
        self.address = address
        self._asker = Asker(address.url, _login(address.url, env), _CONNECT)
        self._names: dict[str, str] = {}

    def heads(self) -> Iterator[Reading]:
        """What is known of each run that was not deleted, without metrics. Raises Unreadable."""
        if self.address.run:
            asked = urllib.parse.urlencode({"run_id": self.address.run})
            yield self._head(self._object(self._asker.ask(f"{_API}/runs/get?{asked}"), "run"))
            return
        self._names = {str(one.get("experiment_id")): str(one.get("name")) for one in self._experiments()}
        wanted = [self.address.project] if self.address.project else list(self._names)
        page: str | None = ""
        before: set[str] = set()
        while wanted and page is not None:
            body = {"experiment_ids": wanted, "max_results": RUNS_PAGE, "run_view_type": "ACTIVE_ONLY"}
            answer = self._asker.ask(f"{_API}/runs/search", body | ({"page_token": page} if page else {}))
            for run in self._objects(answer, "runs"):
                yield self._head(run)
            page = next_page(answer, "next_page_token", self.address.url, before)

    def history(self, run: str) -> Reading:
        """Every point of every metric of a run. Raises Unreadable."""
        asked = urllib.parse.urlencode({"run_id": run})
        told = self._object(self._asker.ask(f"{_API}/runs/get?{asked}"), "run")
        reading = self._head(told)
        for metric in self._objects(self._object(told, "data"), "metrics"):
            name = str(metric.get("key"))
            points = sorted(self._points(run, name, reading), key=lambda point: (point[1], point[3]))
            put_points(points, reading)
        return reading

    def _experiments(self) -> Iterator[Mapping[str, Any]]:
        page: str | None = ""
        before: set[str] = set()
        while page is not None:
            query: dict[str, Any] = {"max_results": EXPERIMENTS_PAGE} | ({"page_token": page} if page else {})
            answer = self._asker.ask(f"{_API}/experiments/search", query)
            yield from self._objects(answer, "experiments")
            page = next_page(answer, "next_page_token", self.address.url, before)

    def _head(self, run: Mapping[str, Any]) -> Reading:
        info, data = self._object(run, "info"), self._object(run, "data")
        status, title = info.get("status"), info.get("run_name")
        name, project = str(info.get("run_id") or ""), str(info.get("experiment_id") or "")
        reading = Reading("mlflow", replace(self.address, project=project).page(name))
        reading.info.update(id=name, name=None if title is None else str(title), project=self._project(project))
        start, end = _number(info.get("start_time")), _number(info.get("end_time"))
        mlflow_state(reading.info, None if status is None else str(status), start, end)
        params, tags = ({str(one.get("key")): str(one.get("value")) for one in self._objects(data, name)}
                        for name in ("params", "tags"))  # fmt: skip
        reading.config = {key: setting(value) for key, value in params.items()}
        mlflow_tags(reading.info, tags)
        times = (_number(one.get("timestamp")) or 0.0 for one in self._objects(data, "metrics"))
        newest = max(times, default=0.0) / 1000
        reading.info["updated_at"] = max(reading.info.get("updated_at") or 0.0, newest) or None
        return reading

    def _project(self, experiment: str) -> str:
        if experiment and experiment not in self._names:
            asked = urllib.parse.urlencode({"experiment_id": experiment})
            told = self._object(self._asker.ask(f"{_API}/experiments/get?{asked}"), "experiment")
            self._names[experiment] = str(told.get("name"))
        return self._names.get(experiment, experiment)

    def _points(self, run: str, name: str, reading: Reading) -> Iterator[tuple[str, float, float, float]]:
        page: str | None = ""
        before: set[str] = set()
        while page is not None:
            query = {"run_id": run, "metric_key": name, "max_results": POINTS_PAGE} | (
                {"page_token": page} if page else {}
            )
            answer = self._asker.ask(f"{_API}/metrics/get-history?{urllib.parse.urlencode(query)}")
            for point in self._objects(answer, "metrics"):
                value, step, when = (_number(point.get(key)) for key in ("value", "step", "timestamp"))
                if value is None or when is None:
                    reading.skip("row that is no point")
                    continue
                # An infinity is the largest number in a store of SQL.
                value = math.copysign(math.inf, value) if abs(value) == sys.float_info.max else value
                yield name, step or 0.0, value, when / 1000
            page = next_page(answer, "next_page_token", self.address.url, before)

    def _objects(self, answer: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
        return objects(answer, name, self.address.url)

    def _object(self, answer: Mapping[str, Any], name: str) -> Mapping[str, Any]:
        return an_object(answer, name, self.address.url)


def _login(url: str, env: Mapping[str, str]) -> str | None:
    if env.get("MLFLOW_TRACKING_TOKEN"):
        return f"Bearer {env['MLFLOW_TRACKING_TOKEN']}"
    user, password = env.get("MLFLOW_TRACKING_USERNAME"), env.get("MLFLOW_TRACKING_PASSWORD")
    found = (user, password) if user and password else from_netrc(url, env)
    return basic(*found) if found else None


def _number(value: Any) -> float | None:
    """A number, also where JSON has it as text: NaN, Infinity, and whole numbers of 64 bits."""
    try:
        return None if value is None or isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None
