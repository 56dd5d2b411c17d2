"""What the launcher imports beforehand, and how its forked child becomes a fresh Ansible program.

Ansible reads settings, the terminal and the process's own id while it is imported. A setting that differs belongs
to another launcher (see `client.launcher_key`); all else is made anew here, in the child, before Ansible's own
entry point runs.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import io
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn, TextIO

_PR_SET_PDEATHSIG = 1
_ENTRIES = {"ansible-playbook": "ansible.cli.playbook", "ansible-inventory": "ansible.cli.inventory"}

# What a small run imports. Plugins are loaded by Ansible from their paths, where a user's own of the same name come
# first; so these are imported for what they import in turn, and then forgotten.
_PLUGINS = (
    "ansible.plugins.connection.ssh",
    "ansible.plugins.connection.local",
    "ansible.plugins.strategy.linear",
    "ansible.plugins.callback.default",
    "ansible.plugins.shell.sh",
    "ansible.plugins.become.sudo",
    "ansible.plugins.cache.memory",
    "ansible.plugins.vars.host_group_vars",
    "ansible.plugins.inventory.yaml",
    "ansible.plugins.inventory.ini",
    "ansible.plugins.inventory.auto",
    "ansible.plugins.inventory.host_list",
    "ansible.plugins.action.normal",
    "ansible.plugins.action.command",
    "ansible.plugins.action.raw",
    "ansible.plugins.filter.core",
    "ansible.plugins.filter.mathstuff",
    "ansible.plugins.filter.urls",
    "ansible.plugins.filter.urlsplit",
    "ansible.plugins.test.core",
    "ansible.plugins.test.files",
    "ansible.plugins.test.mathstuff",
    "ansible.plugins.test.uri",
)
_LIBRARIES = (
    "multiprocessing.queues",
    "multiprocessing.synchronize",
    "multiprocessing.popen_fork",
    "multiprocessing.shared_memory",
    "concurrent.futures.thread",
    "curses",
    "getpass",
    "pty",
    "tempfile",
    "tomllib",
    "xml.dom.minidom",
    "yaml",
    "jinja2.nativetypes",
    "ansible.executor.playbook_executor",
    "ansible.executor.task_queue_manager",
    "ansible.executor.process.worker",
    "ansible.executor.module_common",
    "ansible.playbook.handler_task_include",
    "ansible.playbook.role_include",
    "ansible.template",
    "sqlalchemy.dialects.sqlite",
    "stoker.store",
    "stoker.dispatch",
)

_libc = ctypes.CDLL(None, use_errno=True)


def warm_up(program: str) -> None:
    """Import what a run imports. Raises RuntimeError where a fork could not be like a fresh process."""
    sys.path.insert(0, os.path.dirname(program))  # As Python does for the program itself.
    sys.argv[:] = [program]
    for name in _ENTRIES.values():
        importlib.import_module(name)
    from ansible import constants

    if getattr(constants, "DEFAULT_LOG_PATH", None):
        raise RuntimeError("Ansible writes a log file, which it opens at import")
    for name in _LIBRARIES:
        _try_import(name)
    for name in _PLUGINS:
        _try_import(name)
        sys.modules.pop(name, None)
    _forget_collections()
    _read_routes()
    gc.collect()
    gc.freeze()


def _try_import(name: str) -> None:
    """A part that is missing or broken is left for the run itself to report, where it needs it."""
    try:
        importlib.import_module(name)
    except Exception:  # noqa: BLE001
        sys.modules.pop(name, None)


def _read_routes() -> None:
    """Read Ansible's own list of moved plugins beforehand, which takes 0.07 s; Ansible's reader may be replaced."""
    import ansible
    from ansible.utils.collection_loader import _collection_finder as finder

    read = getattr(finder, "_meta_yml_to_dict", None)
    path = Path(ansible.__file__).with_name("config") / "ansible_builtin_runtime.yml"
    if read is None or not path.is_file():
        return  # another version of Ansible, which has it elsewhere
    text = path.read_bytes()
    ready = {text: read(text, ("ansible.builtin", "runtime.yml"))}

    def read_once(data: bytes | str, content_id: object) -> Any:
        # Given away for good: what the caller changes in it is seen by nobody else.
        found = ready.pop(data, None) if isinstance(data, bytes) else None
        return read(data, content_id) if found is None else found

    finder._meta_yml_to_dict = read_once


def _forget_collections() -> None:
    """Ansible puts its own finder before collections are imported; what came without it may not stay."""
    if any(name.split(".")[0] == "ansible_collections" for name in sys.modules):
        for name in list(sys.modules):
            if name.split(".")[0] in ("ansible_collections", "stoker") and not name.startswith("stoker.runner"):
                del sys.modules[name]


def become(request: dict[str, Any], files: list[int]) -> NoReturn:
    """In a forked child: take over the caller's files, folder, environment and signals, and run its program."""
    _die_with_parent()
    os.setsid()
    _take_files(files)
    os.umask(request["umask"])
    _take_environment(request["env"])
    _open_standard_streams()
    argv = [os.fsdecode(a) for a in request["argv"]]
    sys.argv[:] = argv
    random.seed()
    _refresh_ansible()
    if request["foreground"]:
        _count_as_foreground()
    entry = importlib.import_module(_ENTRIES[os.path.basename(argv[0])])
    _take_signals(request["ignored"], request["blocked"])
    try:
        code = _exit_code(entry.main())
    except SystemExit as end:
        code = _exit_code(end.code)
    _end(code)


def _exit_code(said: object) -> int:
    """The exit code that Python makes of what was given to `sys.exit`."""
    if said is None:
        return 0
    if isinstance(said, int):
        return said & 0xFF
    sys.stderr.write(f"{said}\n")
    return 1


def _end(code: int) -> NoReturn:
    """End as Python does, but leave the memory to the kernel: freeing it, shared with the parent, costs 0.07 s."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            if not stream.closed:
                stream.flush()
        except OSError:
            code = 120  # As Python says it: what was printed did not arrive.
    os._exit(code)


def _die_with_parent() -> None:
    parent = os.getppid()
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent or parent == 1:
        os._exit(143)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _take_files(files: list[int]) -> None:
    for number, file in enumerate(files[:3]):
        os.dup2(file, number, inheritable=True)
    os.fchdir(files[3])
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))


def _take_environment(env: dict[bytes, bytes]) -> None:
    os.environb.clear()
    os.environb.update(env)
    time.tzset()


def _take_signals(ignored: list[int], blocked: list[int]) -> None:
    for number in range(1, signal.NSIG):
        if number in (signal.SIGKILL, signal.SIGSTOP):
            continue
        if number in ignored:
            wanted: Any = signal.SIG_IGN
        elif number == signal.SIGINT:
            wanted = signal.default_int_handler
        else:
            wanted = signal.SIG_DFL
        try:
            signal.signal(number, wanted)
        except (OSError, ValueError):
            continue  # 32 and 33 are the C library's own
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _open_standard_streams() -> None:
    """New stdin, stdout and stderr, made as Python makes them: lines for a terminal, blocks for a pipe."""
    old = sys.stdout
    sys.stdin = sys.__stdin__ = _text(0, "r", old.encoding, "strict", False)  # type: ignore[misc, assignment]
    sys.stdout = sys.__stdout__ = _text(1, "w", old.encoding, "strict", False)  # type: ignore[misc, assignment]
    sys.stderr = sys.__stderr__ = _text(2, "w", old.encoding, "backslashreplace", True)  # type: ignore[misc, assignment]


def _text(number: int, mode: str, encoding: str, errors: str, lines: bool) -> TextIO:
    raw = io.FileIO(number, mode, closefd=False)
    tty = raw.isatty()
    unbuffered = bool(os.environ.get("PYTHONUNBUFFERED")) and mode == "w"
    buffer: Any = raw if unbuffered else io.BufferedReader(raw) if mode == "r" else io.BufferedWriter(raw)
    name = {0: "<stdin>", 1: "<stdout>", 2: "<stderr>"}[number]
    raw.name = name
    stream = io.TextIOWrapper(
        buffer,
        encoding,
        errors,
        newline="\n" if mode == "w" else None,
        line_buffering=tty or lines,
        write_through=unbuffered,
    )
    stream.mode = mode  # type: ignore[misc]
    return stream


def _refresh_ansible() -> None:
    """Make anew what Ansible made at import from the terminal, the process id and chance."""
    import secrets

    from ansible import constants
    from ansible.utils import color, display
    from ansible.utils import vars as unique
    from ansible.utils.path import cleanup_tmp_file

    # The launcher's own temporary folder is not this run's to remove; asking for the setting makes a new one.
    atexit.unregister(cleanup_tmp_file)
    constants.DEFAULT_LOCAL_TMP = constants.config.get_config_value("DEFAULT_LOCAL_TMP", variables=vars(constants))
    display.Display().__init__()
    importlib.reload(color)
    unique.random_int = f"{secrets.randbelow(2**32):08x}"[:8]
    unique.cur_id = 0


def _count_as_foreground() -> None:
    """The caller's terminal is no terminal of this session, but what reads from it may ask as if it were."""
    ask = os.tcgetpgrp

    def tcgetpgrp(fd: int, /) -> int:
        try:
            return ask(fd)
        except OSError:
            if os.isatty(fd):
                return os.getpgrp()
            raise

    os.tcgetpgrp = tcgetpgrp
