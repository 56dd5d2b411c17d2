"""Schemas of metrics to begin with: of what common trainers log, and of what a run has."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from stoker.analysis.errors import NotThere
from stoker.analysis.model import Metric, Run
from stoker.analysis.schema import parsed
from stoker.analysis.words import better, group

_HEAD = """\
# What the metrics of these runs mean, for `stoker runs`. The first name or pattern that matches counts.
# better: lower or higher. format: as Python takes it, such as .3f or .1%. See docs/runs.md.
"""
# As the trainers themselves log: checked against their names in the tests.
TEMPLATES: Mapping[str, str] = {
    "huggingface": """\
metrics:
  loss: {label: Training loss, better: lower, format: .4f, group: Training}
  train/loss: {label: Training loss, better: lower, format: .4f}
  train_loss: {label: Mean training loss, better: lower, format: .4f, group: Training}
  eval_loss: {label: Evaluation loss, better: lower, format: .4f, group: Evaluation}
  eval/loss: {label: Evaluation loss, better: lower, format: .4f}
  "*accuracy": {better: higher, format: .1%, group: Evaluation}
  "*f1": {better: higher, format: .1%, group: Evaluation}
  "*learning_rate": {label: Learning rate, format: .2e, group: Training}
  "*grad_norm": {label: Gradient norm, format: .3f, group: Training}
  "*_per_second": {better: higher, format: .1f, group: Speed}
  "*_runtime": {better: lower, format: .1f, group: Speed}
  "*total_flos": {format: .3e, group: Speed}
groups: {train: Training}
validation: {eval: Evaluation, test: Test}
""",
    "lightning": """\
metrics:
  train_loss_step: {label: Training loss by step, better: lower, format: .4f, group: Training}
  train_loss_epoch: {label: Training loss by epoch, better: lower, format: .4f, group: Training}
  train_loss: {label: Training loss, better: lower, format: .4f, group: Training}
  val_loss: {label: Validation loss, better: lower, format: .4f, group: Validation}
  test_loss: {label: Test loss, better: lower, format: .4f, group: Test}
  "val_acc*": {label: Validation accuracy, better: higher, format: .1%, group: Validation}
  "train_acc*": {label: Training accuracy, better: higher, format: .1%, group: Training}
  "test_acc*": {label: Test accuracy, better: higher, format: .1%, group: Test}
  "lr-*": {format: .2e, group: Training}
groups: {train: Training}
validation: {val: Validation, test: Test}
""",
    "keras": """\
metrics:
  loss: {label: Training loss, better: lower, format: .4f, group: Training}
  val_loss: {label: Validation loss, better: lower, format: .4f, group: Validation}
  "val_*accuracy": {label: Validation accuracy, better: higher, format: .1%, group: Validation}
  "*accuracy": {label: Training accuracy, better: higher, format: .1%, group: Training}
  "val_*": {group: Validation}
  learning_rate: {label: Learning rate, format: .2e, group: Training}
  lr: {label: Learning rate, format: .2e, group: Training}
""",
    "ultralytics": """\
metrics:
  "train/*_loss": {better: lower, format: .4f}
  "val/*_loss": {better: lower, format: .4f}
  "metrics/mAP50-95*": {label: mAP 50-95, better: higher, format: .3f}
  "metrics/mAP50*": {label: mAP 50, better: higher, format: .3f}
  "metrics/precision*": {label: Precision, better: higher, format: .1%}
  "metrics/recall*": {label: Recall, better: higher, format: .1%}
  "lr/pg*": {format: .2e}
groups: {train: Training, metrics: Validation, lr: Learning rate}
validation: {val: Validation}
""",
    "nanogpt": """\
metrics:
  train/loss: {label: Training loss, better: lower, format: .4f}
  val/loss: {label: Validation loss, better: lower, format: .4f}
  lr: {label: Learning rate, format: .2e}
  mfu: {label: Model FLOPs used, better: higher, format: .2f}
groups: {train: Training}
validation: {val: Validation}
""",
    "rl": """\
metrics:
  "rollout/ep_rew_mean": {label: Mean return, better: higher, format: .2f}
  "rollout/ep_len_mean": {label: Mean length of an episode, format: .1f}
  "eval/mean_reward": {label: Mean return in evaluation, better: higher, format: .2f}
  "eval/mean_ep_length": {label: Mean length in evaluation, format: .1f}
  "charts/episodic_return": {label: Return, better: higher, format: .2f}
  "charts/episodic_length": {label: Length of an episode, format: .1f}
  "charts/learning_rate": {label: Learning rate, format: .2e}
  "charts/SPS": {label: Steps per second, better: higher, format: .0f}
  "time/fps": {label: Steps per second, better: higher, format: .0f}
  "*value_loss": {label: Value loss, better: lower, format: .4f}
  "*explained_variance": {label: Explained variance, better: higher, format: .3f}
  "*approx_kl": {label: KL to the old policy, format: .4f}
  "*clip_fraction": {label: Clipped, format: .1%}
  "*clipfrac": {label: Clipped, format: .1%}
  "train/learning_rate": {label: Learning rate, format: .2e}
groups: {rollout: Rollout, train: Training, charts: Rollout, losses: Training, time: Speed}
validation: {eval: Evaluation}
""",
}
_VALIDATION = {
    "val": "Validation", "valid": "Validation", "validation": "Validation", "eval": "Evaluation", "dev": "Development",
    "test": "Test",
}  # fmt: skip
_LEARNING_RATE = re.compile(r"learning_rate|(^|[/_.])lr($|[/_.-])", re.IGNORECASE)
_SHARE = re.compile(r"acc|precision|recall|f1|iou|success|win_rate", re.IGNORECASE)
_NUMBER = re.compile(r"\d+")
_PLAIN = re.compile(r"[A-Za-z][\w./-]*")
# From so many metrics on that differ in a number alone, they are one for each step of something.
_MANY = 3
# Of 1024 characters that YAML lets a key have on the line of its value.
_LONG_KEY = 800


def template(name: str) -> str:
    """The text of a template. Raises NotThere."""
    if name not in TEMPLATES:
        raise NotThere(f"there is no template '{name}'", next_step=f"one of {', '.join(TEMPLATES)}")
    return f"{_HEAD}\n{TEMPLATES[name]}"


def proposed(run: Run) -> str:
    """A schema for the metrics of a run: what their names, their writer and their values tell, and no more."""
    names = [name for name in run.metrics if not name.startswith("_")]
    patterns = _patterns(names)
    alone = [name for name in names if not any(name in matched for matched in patterns.values())]
    lines = [_HEAD, "metrics:" if alone else "metrics: {}"]
    lines += [line for name in sorted(alone) for line in _metric_lines(name, run)]
    prefixes = dict.fromkeys(word for name in alone if (word := group(name)))
    validation = {p: _VALIDATION[p.lower()] for p in prefixes if p.lower() in _VALIDATION}
    groups = {p: p.replace("_", " ").capitalize() for p in prefixes if p not in validation}
    for part, of in (("groups", groups), ("validation", validation)):
        if of and max(map(len, of)) < _LONG_KEY // 8:
            lines.append(f"{part}: {_flow(of)}")
        elif of:
            lines += [f"{part}:", *(_entry(key, _quoted(value)) for key, value in of.items())]
    if patterns:
        lines += ["per_step:", *(_entry(p, _quoted(p.replace("{i}", "").strip("/_.") or p)) for p in patterns)]
    text = "\n".join(lines) + "\n"
    parsed(text, "the proposal")  # what is proposed can be read
    return text


def _metric_lines(name: str, run: Run) -> list[str]:
    way = better(name, run.directions)
    said: dict[str, str] = {}
    if way is not None:
        said["better"] = "lower" if way == "min" else "higher"
    form = _format(name, run.metrics[name], way is not None)
    if form is not None:
        said["format"] = form
    line = _entry(name, _flow(said))
    return [line if way is not None else f"{line}  # which way is better is not known"]


def _format(name: str, metric: Metric, is_result: bool) -> str | None:
    finite = metric.finite().values
    if not len(finite):
        return None
    low, high = float(finite.min()), float(finite.max())
    if _LEARNING_RATE.search(name):
        return ".2e"
    if is_result and _SHARE.search(name) and "loss" not in name.lower() and low >= 0 and high <= 1:
        return ".1%"
    if bool((finite == np.round(finite)).all()):
        return None
    size = max(abs(low), abs(high))
    return ".4f" if 0.01 <= size < 1000 else ".1f" if 1000 <= size < 1e7 else ".3e"


def _patterns(names: Sequence[str]) -> dict[str, set[str]]:
    """`train/ce_step_{i}`: names that differ in one number alone, as `per_step` takes them."""
    found: dict[str, set[str]] = {}
    for name in names:
        for number in _NUMBER.finditer(name):
            if "{" not in name and number.end() - number.start() < 10:
                found.setdefault(f"{name[: number.start()]}{{i}}{name[number.end() :]}", set()).add(name)
    taken: set[str] = set()
    kept: dict[str, set[str]] = {}
    for pattern, matched in sorted(found.items(), key=lambda entry: (-len(entry[1]), entry[0])):
        if len(matched) >= _MANY and not matched & taken:
            kept[pattern] = matched
            taken |= matched
    return kept


def _flow(values: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{_quoted(key)}: {_quoted(value)}" for key, value in values.items()) + "}"


def _quoted(text: str) -> str:
    """As YAML takes it: plain where that is one text and nothing else, else in double quotes."""
    words = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
    if (_PLAIN.fullmatch(text) and text.lower() not in words) or re.fullmatch(r"\.\d[fe%]", text):
        return text
    return '"' + "".join(c if c.isprintable() and c not in '"\\' else _escaped(c) for c in text) + '"'


def _escaped(c: str) -> str:
    return f"\\{c}" if c in '"\\' else f"\\u{ord(c):04x}" if ord(c) < 0x10000 else f"\\U{ord(c):08x}"


def _entry(key: str, value: str) -> str:
    """A line of a mapping; a long key has to be told from its value."""
    quoted = _quoted(key)
    return f"  {quoted}: {value}" if len(quoted) < _LONG_KEY else f"  ? {quoted}\n  : {value}"
