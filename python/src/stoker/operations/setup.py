"""Setting up: the first stoker.yml and inventory.yml."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from stoker.errors import StokerError, UsageError
from stoker.operations.registry import operation
from stoker.operations.session import Session
from stoker.operations.values import Written

SETTINGS = """\
# Settings of Stoker for this folder and those below it. What is commented out is the default.

inventory: inventory.yml

# Where jobs are written down. Default: a SQLite file of your own. PostgreSQL: postgresql+psycopg://user@host/stoker
# store: sqlite:////home/me/stoker.db

# defaults:
#   on: dgx            # node or group for `stoker run`
#   gpus: 0
#   retries: 0
#   grace_s: 10        # seconds to end after the signal to stop

# Numbers to take from log lines; the first group is the value.
# metrics:
#   - {name: loss, regex: 'loss[ =:]+([0-9.e+-]+)'}

# Own error patterns, beside those built in.
# log_patterns:
#   - {name: diverged, regex: 'loss is nan', severity: critical}

# Looked at when a job takes GPUs.
# preflight:
#   busy_load_pct: 50  # a GPU with more foreign load is not quiet
#   busy_processes: ['*/steamapps/*', '*.exe', Xorg]   # a GPU with one of these is busy, by default games
#   cooldown_s: 30     # and given to a job so many seconds after the process was last seen
#   quarantine_s: 86400  # how long a GPU that cannot be trusted is kept away

# Samples of the nodes, and from where on a figure is an alert.
# telemetry: {keep_s: 604800, disk_pct: 90, memory_pct: 90, gpu_temperature_c: 85, memory_full_min: 30}

# What a GPU costs in dollars per hour, by its name; the first that fits counts. For `stoker runs cost`.
# prices:
#   - {gpu: '*H100*', per_hour: 2.5}

# In which role the command line and assistants on this machine act, and what differs of the roles; see docs/mcp.md.
# access:
#   cli: administer    # read, operate, spend or administer
#   mcp: operate
#   deny: {operate: [nodes.execute]}
# mcp:                      # what assistants may use of the machine of their server
#   secrets: [WANDB_API_KEY]
#   servers: ['mlflow.example:5000']

# Messages to people; see docs/notify.md. The address of a target is in a variable, or a file (url_file).
# notify:
#   targets: {team: {url_env: TEAM_URL, quiet: ['22:00-07:00']}}
#   rules:
#     - {events: [job.ended, node.offline, node.recovered], to: [team, inbox]}

# launcher:
#   enabled: true      # a pre-imported process that makes small calls quick
#   idle_s: 300        # seconds after which it ends when nobody needs it
"""

INVENTORY = """\
# The nodes: an Ansible inventory. `stoker nodes --live` asks them all.
---
all:
  hosts:
    localhost:
      ansible_connection: local
  # children:
  #   gpus:
  #     hosts:
  #       spark:
  #         ansible_host: 192.168.1.20
  #         ansible_user: me
  #         ansible_python_interpreter: /usr/bin/python3
"""


STARTERS = Path(__file__).parents[1] / "starters"
Starter = Literal["pytorch", "jax", "huggingface", "ultralytics"]


@operation("setup", "init", "administer")
def init(session: Session, *, inventory: bool = False, template: Starter | None = None) -> Written:
    """Write a first stoker.yml and inventory.yml into the current folder. A file that is there is never overwritten.

    With `--template`, also a training to begin with: train.py, requirements.txt and experiment.yml, a workflow. It runs
    as it is, goes on from its checkpoints, and needs no data; a stoker.yml or inventory.yml that is there stays.

    Args:
        inventory: Only inventory.yml.
        template: A training with this library.
    """
    if inventory and template is not None:
        raise UsageError("--inventory writes nothing but inventory.yml: not with --template")
    wanted = {Path("inventory.yml"): INVENTORY, **({} if inventory else {Path("stoker.yml"): SETTINGS})}
    if template is not None:
        wanted = {path: text for path, text in wanted.items() if not _there(path)} | _starter(template)
    if there := [str(path) for path in wanted if _there(path)]:
        only = ", or stoker init --inventory for the inventory alone" if there == ["stoker.yml"] else ""
        step = "take another folder" if template is not None else f"edit it{only}"
        raise UsageError(f"{' and '.join(there)} is there already: nothing was written", next_step=step)
    for path, text in wanted.items():
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
        except OSError as problem:
            raise StokerError(f"{path.absolute()} cannot be written: {problem.strerror or problem}") from problem
    first = "stoker run -- hostname" if template is None else "stoker workflow validate experiment.yml"
    return Written(tuple(str(path) for path in wanted), first)


def _there(path: Path) -> bool:
    return path.exists() or path.is_symlink()


def _starter(name: str) -> dict[Path, str]:
    """The files of a starter, by where they go."""
    return {Path(file.name): file.read_text(encoding="utf-8") for file in sorted((STARTERS / name).glob("*.*"))}
