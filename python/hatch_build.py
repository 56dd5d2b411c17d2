"""Puts the collection into the wheel, at `ansible_collections/stoker/fleet/`, where Ansible and Python both look."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CollectionHook(BuildHookInterface):
    """Adds the configured paths: from the checkout, or from the copy that a source archive carries."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Fill `force_include`; an editable install gets links instead (`.ci/link-collection`)."""
        if version == "editable":
            return
        carried = Path(self.root, "collection")
        source = carried if carried.is_dir() else Path(self.root).parent
        if not (source / "galaxy.yml").is_file():
            raise FileNotFoundError(f"no collection in {source}: build from the repository or from a source archive")
        target = "collection" if self.target_name == "sdist" else "ansible_collections/stoker/fleet"
        for name in self.config["paths"]:
            if (source / name).exists():
                build_data["force_include"][str(source / name)] = f"{target}/{name}"
