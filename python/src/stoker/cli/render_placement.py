"""Why a job is on its node, on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stoker.cli import format as fmt

_WHY = {
    "named": "it names its node",
    "the only node": "it is the only node that it may run on",
    "no other has room": "no other node had room",
    "score": "the highest score",
}


def lines(placement: Mapping[str, Any]) -> Iterator[str]:
    """The reason; where nodes were compared, each with its score and what makes it (the figures are in the JSON)."""
    chosen, why = placement.get("chosen"), str(placement.get("why"))
    yield _WHY.get(why, why)
    for node in [chosen, *placement.get("others", ())] if chosen and why == "score" else []:
        told = ", ".join(part["why"] for part in node["parts"].values())
        age = node["sample_age_s"]
        seen = "no sample that is new enough" if age is None else f"sample of {fmt.duration(age)} ago"
        yield f"{node['node']} {node['score']:.2f}: {told}; {seen}"
