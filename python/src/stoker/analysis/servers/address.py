"""Where runs lie on a server: what stands in place of a folder, `wandb:ENTITY/PROJECT` or `mlflow:URL`."""

from __future__ import annotations

import configparser
import os
import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stoker.analysis.errors import AnalysisError

WANDB_URL = "https://api.wandb.ai"
_WANDB_PAGES = "https://wandb.ai"
_MLFLOW_PLACE = re.compile(r"/?(?:experiments/(?P<project>[^/]+))?/?(?:runs/(?P<run>[^/?]+))?.*")


@dataclass(frozen=True)
class Address:
    """A server, and which of its runs: those of a project (MLflow: of an experiment's id), or one.

    `entity` and `project` are None where everything, or what the server says, is meant.
    """

    kind: Literal["wandb", "mlflow"]
    url: str
    entity: str | None = None
    project: str | None = None
    run: str | None = None

    def __str__(self) -> str:
        if self.kind == "mlflow":
            return f"mlflow:{self.url}" + (f"/#/experiments/{self.project}" if self.project else "")
        return "wandb:" + "/".join(part for part in (self.entity, self.project) if part)

    def page(self, run: str, project: str | None = None) -> str:
        """The address of a run's page for people."""
        project = project or self.project
        if self.kind == "mlflow":
            return f"{self.url}/#/experiments/{project}/runs/{run}"
        pages = _WANDB_PAGES if self.url == WANDB_URL else self.url
        return f"{pages}/{self.entity}/{project}/runs/{run}"


def named(text: str, folder: Path, env: Mapping[str, str] = os.environ) -> Address | None:
    """The server that `text` names; None for what is the name of a file, a folder or a run.

    `wandb:` alone is the project of the environment (WANDB_ENTITY, WANDB_PROJECT), or the one that `wandb init` noted
    in `folder`; `mlflow:` is MLFLOW_TRACKING_URI. Raises AnalysisError for an address that names too little.
    """
    kind, colon, rest = text.partition(":")
    if not colon or kind not in ("wandb", "mlflow"):
        return None
    return _wandb(rest, folder, env) if kind == "wandb" else _mlflow(rest, env)


def _wandb(rest: str, folder: Path, env: Mapping[str, str]) -> Address:
    noted = _noted(folder)
    url = _http(env.get("WANDB_BASE_URL") or noted.get("base_url") or WANDB_URL, "WANDB_BASE_URL")
    entity, project = env.get("WANDB_ENTITY") or noted.get("entity"), env.get("WANDB_PROJECT") or noted.get("project")
    parts = [part for part in rest.split("/") if part]
    if len(parts) == 1:
        (project,) = parts
    elif len(parts) in (2, 3):
        entity, project = parts[:2]
    elif parts:
        raise AnalysisError(f"'wandb:{rest}' is no wandb:ENTITY/PROJECT or wandb:ENTITY/PROJECT/RUN")
    if project is None:
        raise AnalysisError(
            f"'wandb:' names no project, and neither WANDB_PROJECT nor {folder / 'wandb/settings'} does",
            next_step="stoker runs list wandb:ENTITY/PROJECT",
        )
    return Address("wandb", url, entity, project, parts[2] if len(parts) == 3 else None)


def _noted(folder: Path) -> Mapping[str, str]:
    """What `wandb init` wrote down in this folder or the nearest one above it."""
    for place in (folder, *folder.resolve().parents):
        path = place / "wandb" / "settings"
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read_string(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError, configparser.Error) as problem:
            raise AnalysisError(f"{path} cannot be read: {str(problem).splitlines()[0]}") from problem
        return dict(parser["default"]) if "default" in parser else {}
    return {}


def _mlflow(rest: str, env: Mapping[str, str]) -> Address:
    url, _, place = rest.partition("#")
    if not url:
        url = env.get("MLFLOW_TRACKING_URI", "")
        if not url:
            raise AnalysisError(
                "'mlflow:' names no server, and MLFLOW_TRACKING_URI is not set",
                next_step="stoker runs list mlflow:http://HOST:5000",
            )
    found = _MLFLOW_PLACE.fullmatch(place)
    project, run = (found["project"], found["run"]) if found else (None, None)
    return Address("mlflow", _http(url, "mlflow:URL" if rest else "MLFLOW_TRACKING_URI"), None, project, run)


def _http(url: str, source: str) -> str:
    try:
        parts = urllib.parse.urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if "@" in url:
        hint = "WANDB_API_KEY, MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or ~/.netrc"
        raise AnalysisError(f"{source}: a password in an address is seen by everybody", next_step=hint)
    if not usable:
        raise AnalysisError(f"{source}: '{url}' is no address that begins with http:// or https://")
    return url.rstrip("/")
