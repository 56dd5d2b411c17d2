"""The call of ansible-runner itself, kept apart because importing it takes 0.1 s."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ansible_runner
import ansible_runner.runner
import pexpect  # type: ignore[import-untyped]


class _Spawn(pexpect.spawn):  # type: ignore[misc]
    """pexpect's spawn without its sleep of 0.1 s after the end: the program has ended by then, nothing is awaited."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.delayafterclose = 0.0


class _Pexpect:
    """The module pexpect as ansible-runner sees it. There is no setting for the sleep, so only `spawn` differs."""

    spawn = _Spawn

    def __getattr__(self, name: str) -> Any:
        return getattr(pexpect, name)


ansible_runner.runner.pexpect = _Pexpect()


def ansible_runner_run(*, program: Path, **arguments: Any) -> int:
    """Run `program` in a pseudo terminal and wait for it. Its exit code; 254 when it was stopped, -N for a signal N.

    The playbook comes in `cmdline`: with `binary`, ansible-runner drops its own `playbook` argument.
    """
    runner = ansible_runner.run(
        binary=str(program),
        quiet=True,
        suppress_env_files=True,
        # Anything but "jsonfile" leaves Ansible's fact cache as the user set it.
        fact_cache_type="as_configured",
        **arguments,
    )
    return 254 if runner.rc is None else int(runner.rc)
