"""A workflow as a picture, of its needs and, where it was submitted, its states. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stoker.operations.workflow_values import WorkflowJob

COLOURS = {
    "succeeded": "#c8e6c9", "running": "#bbdefb", "failed": "#ffcdd2", "cancelled": "#e0e0e0", "skipped": "#eeeeee",
    "waiting": "#ffffff",
}  # fmt: skip
_FAILED = frozenset({"failed", "lost", "dead"})
_LIVE = frozenset({"queued", "starting", "running"})


def step_state(jobs: Sequence[WorkflowJob]) -> str:
    """One word for a step: the state of the job that matters most."""
    states = {_word(job.state) for job in jobs}
    for state in ("running", "failed", "waiting", "cancelled", "succeeded"):
        if state in states:
            return state
    return "skipped"


def in_words(jobs: Sequence[WorkflowJob]) -> str:
    """`succeeded`, or `4 jobs: 3 succeeded, 1 running`."""
    if len(jobs) == 1:
        return jobs[0].state
    counts: dict[str, int] = {}
    for job in jobs:
        counts[job.state] = counts.get(job.state, 0) + 1
    return f"{len(jobs)} jobs: " + ", ".join(f"{count} {state}" for state, count in counts.items())


def layered(needs: Mapping[str, Sequence[str]], said: Mapping[str, str]) -> list[str]:
    """Lines for a terminal: steps on one level may run at the same time. `said` is what stands beside each step."""
    levels: dict[str, int] = {}
    while len(levels) < len(needs):
        for step, named in needs.items():
            if step not in levels and all(need in levels for need in named):
                levels[step] = 1 + max((levels[need] for need in named), default=0)
    width = max(map(len, needs))
    lines: list[str] = []
    for level in range(1, max(levels.values()) + 1):
        if lines:
            lines.append("   │")
        first = True
        for step in (step for step, at in levels.items() if at == level):
            number = f"{level:>2}" if first else "  "
            after = f"  ← {', '.join(needs[step])}" if needs[step] else ""
            lines.append(f"{number} ■ {step.ljust(width)}  {said.get(step, '')}{after}".rstrip())
            first = False
    return lines


def mermaid(needs: Mapping[str, Sequence[str]], said: Mapping[str, str], states: Mapping[str, str]) -> list[str]:
    """Lines that Mermaid draws as a flowchart."""
    lines = ["flowchart TD"]
    for step in needs:
        text = f"{step}<br/>{said[step]}" if said.get(step) else step
        shade = f":::{states[step]}" if step in states else ""
        lines.append(f'  {step}_(["{text}"]){shade}')
    lines += [f"  {need}_ --> {step}_" for step, named in needs.items() for need in named]
    used = [state for state in COLOURS if state in states.values()]
    return lines + [f"  classDef {state} fill:{COLOURS[state]},stroke:#555,color:#000" for state in used]


def _word(state: str) -> str:
    return "failed" if state in _FAILED else "running" if state in _LIVE else state
