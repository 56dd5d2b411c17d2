"""Setting up: the first stoker.yml and inventory.yml."""

from __future__ import annotations

from pathlib import Path

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


@operation("setup", "init", "administer")
def init(session: Session, *, inventory: bool = False) -> Written:
    """Write a first stoker.yml and inventory.yml into the current folder. A file that is there is never overwritten.

    Args:
        inventory: Only inventory.yml.
    """
    wanted = {Path("inventory.yml"): INVENTORY, **({} if inventory else {Path("stoker.yml"): SETTINGS})}
    if there := [str(path) for path in wanted if path.exists() or path.is_symlink()]:
        only = ", or stoker init --inventory for the inventory alone" if there == ["stoker.yml"] else ""
        raise UsageError(f"{' and '.join(there)} is there already: nothing was written", next_step=f"edit it{only}")
    for path, text in wanted.items():
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
        except OSError as problem:
            raise StokerError(f"{path.absolute()} cannot be written: {problem.strerror or problem}") from problem
    return Written(tuple(str(path) for path in wanted))
