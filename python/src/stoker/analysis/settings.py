"""The settings of a run that lie in a file beside its metrics."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from stoker.analysis.find import Source

NAMES = ("hparams.yaml", "config.json", "config.yaml")
_LARGEST = 1 << 20


def settings_beside(source: Source) -> Mapping[str, Any]:
    """What `hparams.yaml` (Lightning), `config.json` or `config.yaml` next to the metrics say; nothing for W&B.

    A file that cannot be read as a mapping is no settings: W&B's `config.yaml` and others have forms of their own.
    """
    if source.kind == "wandb":
        return {}
    for name in NAMES:
        path = source.paths[0].parent / name
        try:
            if not path.is_file() or path.stat().st_size > _LARGEST:
                continue
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        settings = parsed(text, is_json=name.endswith(".json"))
        if settings:
            return settings
    return {}


def parsed(text: str, *, is_json: bool) -> Mapping[str, Any] | None:
    """The settings that a text is; None where it is no mapping."""
    if is_json:
        try:
            read = json.loads(text)
        except (ValueError, RecursionError):
            return None
    else:
        from ruamel.yaml import YAML
        from ruamel.yaml.error import YAMLError

        try:
            # The safe reader makes plain values alone: a tag of somebody's Python object is an error.
            read = YAML(typ="safe", pure=True).load(text)
        except (YAMLError, ValueError, RecursionError):
            return None
    return {str(key): value for key, value in read.items()} if isinstance(read, dict) else None
