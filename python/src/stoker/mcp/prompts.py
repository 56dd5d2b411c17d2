"""Questions that people ask again and again, as prompts: which tools answer them, in which order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Question:
    """A prompt; `arguments` by name, with what they are. All are optional."""

    description: str
    arguments: Mapping[str, str]
    text: str

    def asked(self, given: Mapping[str, str]) -> str:
        """The text for an assistant."""
        about = "".join(f"\n{name}: {given[name]}" for name in self.arguments if given.get(name))
        return self.text + (f"\n\nAsked about:{about}" if about else "")


QUESTIONS: Mapping[str, Question] = {
    "how_is_training_going": Question(
        "How is training going?",
        {"job": "Id of a job", "run": "Folder or name of a run"},
        "How is training going? Without a job or run named: tool jobs, do='jobs', state=['running'], and tool runs, "
        "do='runs list'. For a job: tool jobs, do='job' with live=true: its state and the evidence for it, metrics and "
        "findings. For a run: tool runs, do='runs summary', then do='runs check' for what is wrong with it and "
        "do='runs eta' for when it ends. Say what is known and what is not; give steps and values as evidence.",
    ),
    "what_went_wrong": Question(
        "Why did a job fail, and what to do?",
        {"job": "Id of the job; the newest that failed by default"},
        "Why did the job fail? Without one named: tool jobs, do='jobs', state=['failed','dead','lost'], the first. "
        "Then tool jobs, do='job' for reason, findings and evidence, do='logs' with tail=50 for its last lines, and "
        "do='events' with job= for what happened to it. Name the cause with its evidence, and the next step. Do not "
        "start it again without being asked.",
    ),
    "where_is_room": Question(
        "Which GPUs are free?",
        {"gpus": "How many are needed"},
        "Which GPUs are free? Tool nodes, do='gpus' with live=true: memory, load and which job holds each; "
        "do='status' for nodes that cannot be reached. A GPU whose figures are unknown is not called free.",
    ),
}
