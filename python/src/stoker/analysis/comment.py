"""A run as a comment for GitHub: Markdown in which text of runs is only ever text, and links to its commit."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ansible_collections.stoker.fleet.plugins.module_utils.terminal_text import safe_text
from stoker.analysis.answers import RunComment
from stoker.analysis.compare import Side, compare
from stoker.analysis.errors import AnalysisError
from stoker.analysis.model import Run
from stoker.analysis.naming import chosen, titles
from stoker.analysis.phrases import number
from stoker.analysis.schema import shown
from stoker.analysis.statistics import stats
from stoker.analysis.values import MetricComparison, Point
from stoker.analysis.words import importance

_MOST, _LONGEST = 20, 120
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
# https, ssh and git's own spelling, with or without somebody's password, which no link must carry.
_REMOTE = re.compile(
    r"(?:(?:https?|ssh|git)://)?(?:[^/@\s]+@)?([\w.-]+)(?::\d+(?=/))?[:/]+([\w.-]+/[\w.-]+?)(?:\.git)?/?"
)


def repository(remote: str | None, *, own_hosts: bool = False) -> str | None:
    """`https://github.com/owner/name` of a git remote on GitHub, else None.

    `own_hosts`: a GitHub of one's own counts, too (`github.*`). A run's file may name any host.
    """
    found = _REMOTE.fullmatch(remote.strip()) if remote else None
    if found is None or not (found[1] == "github.com" or (own_hosts and found[1].startswith("github."))):
        return None
    return None if ".." in found[2] else f"https://{found[1]}/{found[2]}"


def comment(
    run: Run, base: Run | None = None, *, keys: Sequence[str] = (), remote: str | None = None, pull: int | None = None
) -> RunComment:
    """The comment on a run, set against `base` where there is one.

    `remote` is the git remote where the run's writer noted none, `pull` the number of the pull request it belongs to.
    Raises NotThere for a metric that is not there, AnalysisError for a pull request without a repository.
    """
    info = run.info
    noted = info.facts.get("remote")
    where = repository(remote, own_hosts=True) if remote else repository(noted if isinstance(noted, str) else None)
    commit = info.commit if info.commit and _COMMIT.fullmatch(info.commit) else None
    if pull is not None and where is None:
        raise AnalysisError("--pull: which repository on GitHub is not known", next_step="--remote URL")
    commit_url = f"{where}/commit/{commit}" if where and commit else None
    pull_url = f"{where}/pull/{pull}" if pull is not None else f"{where}/pulls?q={commit}" if commit_url else None
    state = f"{info.state.name}{f' ({info.state.exit_code})' if info.state.exit_code else ''}"
    names = chosen(keys, run.metrics, info.title)
    if not keys:
        names.sort(key=lambda name: (importance(name), name))
    kept = names[:_MOST]
    title, *other = titles([info, *([base.info] if base is not None else [])])
    lines = [f"### Run {code(title)}: {state}", ""]
    lines += [" · ".join(_facts(run, commit, commit_url, pull, pull_url)), ""]
    lines += _against(run, base, kept, other[0]) if base is not None else _alone(run, kept)
    if len(names) > len(kept):
        lines += ["", f"{len(names) - len(kept)} more metrics are not shown."]
    unknown = [] if commit else ["commit"]
    unknown += [] if where else ["repository"]
    return RunComment(info, "\n".join(lines) + "\n", commit, commit_url, pull_url, tuple(unknown))


def _facts(run: Run, commit: str | None, commit_url: str | None, pull: int | None, pull_url: str | None) -> list[str]:
    said = []
    if commit_url and commit:
        said.append(f"commit [`{commit[:10]}`]({commit_url})")
    else:
        said.append(f"commit `{commit[:10]}`" if commit else "commit unknown")
    if pull_url:
        said.append(
            f"[pull request {pull}]({pull_url})" if pull is not None else f"[pull requests with it]({pull_url})"
        )
    if run.last_step is not None:
        said.append(f"step {number(run.last_step)}")
    if run.info.host:
        said.append(f"on {code(run.info.host)}")
    said += [f"{code(run.info.group)}"] if run.info.group else []
    return said


def _alone(run: Run, names: Sequence[str]) -> list[str]:
    rows = []
    for name in names:
        m = stats(run.metrics[name], run.directions, run.schema)
        final = shown(m.final, m.format) or number(m.final)
        odd = ", ".join(f"{count:,} {what}" for count, what in ((m.nan, "NaN"), (m.inf, "Inf")) if count) or "-"
        rows.append([code(m.label or name), final, _point(m.best, m.format), f"{m.count:,}", odd])
    return _table(("metric", "last", "best", "points", "not finite"), rows)


def _against(run: Run, base: Run, names: Sequence[str], title: str) -> list[str]:
    pair = compare(Side(base), Side(run))
    wanted = {m.name: m for m in pair.metrics}
    rows = [_row(wanted[name]) for name in names]
    lines = [f"Against {code(title)}:", "", *_table(("metric", "base", "this run", "change", ""), rows)]
    lines += [line for warning in pair.warnings for line in ("", f"Mind: {_plain(warning)}.")]
    if pair.config:
        changed = [
            [code(c.key), code(c.a) if c.a_has else "not set", code(c.b) if c.b_has else "not set"] for c in pair.config
        ]
        lines += ["", *_table(("setting", "base", "this run"), changed[:_MOST])]
        if len(changed) > _MOST:
            lines += ["", f"{len(changed) - _MOST} more settings differ."]
    return lines


def _row(m: MetricComparison) -> list[str]:
    percent = f"{m.percent:+.1f}%" if m.percent is not None else "-"
    better = {"a": "worse", "b": "better", "same": "same"}.get(m.better or "", "")
    return [code(m.label or m.name), _point(m.a, m.format), _point(m.b, m.format), percent, better]


def _point(point: Point | None, form: str | None) -> str:
    return "-" if point is None else f"{shown(point.value, form) or number(point.value)} at {number(point.step)}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return ["No metric has a point."]
    return [f"| {' | '.join(line)} |" for line in (heads, ["---"] * len(heads), *rows)]


def code(value: object) -> str:
    """Text of somebody else as code: no markup, no mention, nothing that ends a cell, whatever is in it."""
    flat = _plain(value)
    fence = "`" * (max((len(run) for run in re.findall(r"`+", flat)), default=0) + 1)
    pad = " " if flat.startswith("`") or flat.endswith("`") or not flat else ""
    return f"{fence}{pad}{flat}{pad}{fence}".replace("|", "\\|")


def _plain(value: object) -> str:
    return " ".join(str(safe_text(str(value), _LONGEST)).split())
