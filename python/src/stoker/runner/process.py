"""The call of ansible-runner itself, kept apart because importing it takes 0.1 s."""

from __future__ import annotations

import ctypes
import os
import shlex
import signal
import threading
from collections.abc import Callable, Mapping
from typing import Any

import ansible_runner
import ansible_runner.runner
import pexpect  # type: ignore[import-untyped]

from stoker.runner import proctree

# What Ansible gets to tell its workers to end, in seconds; ansible-runner alone would leave them behind.
_GRACE_S = 3.0
_PR_SET_PDEATHSIG = 1
_started = threading.local()


class _Spawn(pexpect.spawn):  # type: ignore[misc]
    """pexpect's spawn without the sleep of 0.1 s after the end: the program has ended by then, nothing is awaited."""

    def __init__(self, *args: Any, env: Mapping[str, str], **kwargs: Any) -> None:
        first = _tied(os.getpid()) if _started.tied else None
        super().__init__(*args, env={**os.environ, **env}, preexec_fn=first, **kwargs)
        self.ptyproc.delayafterclose = 0.0
        _started.process = self
        if _started.meanwhile is not None:
            # Not earlier: a process is forked with one thread only.
            threading.Thread(target=_started.meanwhile, daemon=True).start()


def _tied(parent: int) -> Callable[[], None]:
    """What a child does first so that it is told to end when `parent` does, however that ends. Linux."""
    libc = ctypes.CDLL(None, use_errno=True)

    def tie() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return tie


class _Pexpect:
    """The module pexpect as ansible-runner sees it. There is no setting for the sleep, so only `spawn` differs."""

    spawn = _Spawn

    def __getattr__(self, name: str) -> Any:
        return getattr(pexpect, name)


ansible_runner.runner.pexpect = _Pexpect()


def _keep_to_ourselves(status: Mapping[str, Any], runner_config: Any) -> None:
    """Before ansible-runner writes its environment into a file: leave in it what is not this process's own.

    The values of secrets are in ours, and a killed run leaves its files behind. `_Spawn` puts it back.
    """
    if status["status"] == "starting":
        runner_config.env = {k: v for k, v in runner_config.env.items() if os.environ.get(k) != v}


def ansible_runner_run(
    *, command: list[str], ended: Callable[[], bool], meanwhile: Callable[[], None] | None = None, tied: bool = False,
    **arguments: Any,
) -> int:  # fmt: skip
    """Run `command` in a pseudo terminal and wait for it; `ended` is asked now and then whether to stop it.

    `meanwhile` is called in a thread of its own when the program has been started; nobody waits for it. `tied`: the
    program is told to end when this thread does, even by SIGKILL. Returns the
    exit code; 254 when it was stopped or killed. `command` goes by `binary` and `cmdline`, because with `binary`
    ansible-runner drops its own `playbook` argument.
    """
    _started.process, _started.meanwhile, _started.tied = None, meanwhile, tied

    def cancelled() -> bool:
        if not ended():
            return False
        proctree.end(_started.process.pid, grace_s=_GRACE_S)
        return True

    try:
        runner = ansible_runner.run(
            binary=command[0],
            cmdline=shlex.join(command[1:]),
            cancel_callback=cancelled,
            quiet=True,
            suppress_env_files=True,
            status_handler=_keep_to_ourselves,
            # Anything but "jsonfile" leaves Ansible's fact cache as the user set it.
            fact_cache_type="as_configured",
            **arguments,
        )
    except BaseException:
        process = _started.process
        if process is not None and process.isalive():
            proctree.end(process.pid, grace_s=_GRACE_S)
            process.close(force=True)
        raise
    return 254 if runner.rc is None else int(runner.rc)
