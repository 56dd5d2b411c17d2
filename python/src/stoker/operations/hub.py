"""Models and data of the Hugging Face hub, fetched by a node itself."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from stoker.errors import UsageError
from stoker.operations.options import Named
from stoker.operations.registry import operation
from stoker.operations.session import Session
from stoker.operations.submit import submit
from stoker.operations.values import Submitted

FOLDER = "~/.cache/stoker/hub"
TOKEN = "HF_TOKEN"
# The oldest have no organisation.
_SOURCE = re.compile(r"hf:(datasets/)?((?:[A-Za-z0-9][\w.-]*/)?[A-Za-z0-9][\w.-]*)")
_REVISION = re.compile(r"[A-Za-z0-9][\w./-]{0,254}")


@operation("hub", "data fetch", "operate", method="fetch", follow=True)
def fetch(session: Session, source: str, *, on: str, revision: str = "main", to: str = FOLDER) -> Submitted:
    """Fetch a model or data of the Hugging Face hub to a node: a job that the node carries out by itself.

    Room on the disk is looked at first; each file is held against the digest that the hub says; what is there already
    is not fetched again. The last line of its log says where it lies. A token is taken from the variable HF_TOKEN here:
    it goes to the node as a secret of the job, and stands in no command line, log or store.

    Args:
        source: hf:ORG/NAME, a model, or hf:datasets/ORG/NAME. Without ORG/ where it has none.
        on: Node or group.
        revision: Branch, tag or commit.
        to: Folder on the node.
    """
    began = time.monotonic()
    kind, repo = source_of(source)
    if not _REVISION.fullmatch(revision) or ".." in revision:
        raise UsageError(f"--revision: {revision!r} is no branch, tag or commit")
    env = {
        "HUB_REPO": repo, "HUB_KIND": kind, "HUB_REVISION": revision, "HUB_FOLDER": to,
    }  # fmt: skip
    if endpoint := os.environ.get("HF_ENDPOINT"):
        env["HUB_ENDPOINT"] = endpoint
    spec = {"script": _program(), "interpreter": "python3 -I", "env": env, "gpus": 0}
    if os.environ.get(TOKEN):
        spec["secret_env"] = [TOKEN]
    name = "fetch-" + repo.rpartition("/")[2].lower()
    return submit(session, Named(spec, on, None, None, name), began=began)


def source_of(source: str) -> tuple[str, str]:
    """(`models` or `datasets`, repository) of what `hf:...` names. Raises UsageError."""
    found = _SOURCE.fullmatch(source)
    if found is None:
        raise UsageError(f"{source!r} is nothing of a hub", next_step="hf:ORG/NAME, or hf:datasets/ORG/NAME")
    return "datasets" if found[1] else "models", found[2]


def _program() -> str:
    from ansible_collections.stoker.fleet.plugins.module_utils import hub_fetch

    return Path(hub_fetch.__file__).read_text(encoding="utf-8")
