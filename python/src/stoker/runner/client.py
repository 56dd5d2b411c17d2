"""Stands in for an Ansible program: has the warm launcher run it, or else becomes the plain program.

Started as ``python -I -S client.py FOLDER FINGERPRINT PROGRAM ARGUMENT...`` with FOLDER the launchers' sockets,
FINGERPRINT the state of the code, PROGRAM the plain program's full path. It has to start in milliseconds, so it
imports C modules and nothing else; the launcher imports this file too, for the words both speak.

The talk, over one stream socket (all of one user, of one Python): the client sends a request; the launcher answers
READY; the client answers GO, with its standard files and folder as descriptors; only then is there a fork. So until
GO the client may still turn to the plain program, and from GO on it never does.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket
import marshal
import os
import sys

PROTOCOL = b"stoker-launcher/1"
READY, GO, STARTED, REFUSED, ENDED, SIGNAL = b"R", b"G", b"S", b"N", b"X", b"K"
FORWARDED = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
PROGRAMS = ("ansible-playbook", "ansible-inventory")
# How long an answer may take before the plain program is used instead, in seconds.
ANSWER_S = 2.0
# A launcher that could not start is not tried again for so many seconds.
FAILED_S = 60

# Read by what runs in the child only, never while modules are imported: a different value needs no other launcher.
RUN_TIME_ONLY = frozenset(
    (
        "AWX_ISOLATED_DATA_DIR", "PWD", "OLDPWD", "_", "SHLVL", "SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY",
        "SSH_AUTH_SOCK", "SSH_AGENT_PID", "COLUMNS", "LINES", "LS_COLORS", "WINDOWID", "DISPLAY",
        "XAUTHORITY", "TMUX", "TMUX_PANE", "STY", "WINDOW", "TERM_SESSION_ID", "KITTY_WINDOW_ID",
        "WEZTERM_PANE", "VSCODE_IPC_HOOK_CLI", "VSCODE_GIT_IPC_HANDLE", "XDG_SESSION_ID", "INVOCATION_ID",
        "JOURNAL_STREAM", "PYTEST_CURRENT_TEST",
    )
)  # fmt: skip
_RUN_TIME_PREFIX = "STOKER_"
# Settings of Ansible that are no paths, so that the folder of the caller does not matter to them.
_NOT_PATHS = frozenset(
    (
        "ANSIBLE_SSH_ARGS", "ANSIBLE_GATHERING", "ANSIBLE_STDOUT_CALLBACK", "ANSIBLE_SSH_CONTROL_PATH",
    )
)  # fmt: skip
_SCALARS = frozenset(("true", "false", "yes", "no", "on", "off", ""))
_STATUS_LINES = (
    "Uid:", "Gid:", "Groups:", "CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:", "NoNewPrivs:", "Seccomp:",
    "Cpus_allowed_list:", "Mems_allowed_list:",
)  # fmt: skip


def launcher_key(program: str, fingerprint: str) -> str:
    """Names the launcher that may run `program` for this process: everything that imports, or a fork inherits."""
    env = {k: v for k, v in os.environ.items() if k not in RUN_TIME_ONLY and not k.startswith(_RUN_TIME_PREFIX)}
    seen = [
        PROTOCOL, sys.version, interpreter(program), os.path.dirname(program), fingerprint,
        sorted(env.items()), _config(), _cwd_matters(env) and os.getcwd(), _inherited(),
    ]  # fmt: skip
    return _digest(repr(seen).encode("utf-8", "surrogateescape"))  # marshal's bytes depend on reference counts


def interpreter(program: str) -> str:
    """The Python that the plain program would run in, by its first line; else this one."""
    with open(program, "rb") as file:
        line = file.readline(512)
    named = os.fsdecode(line[2:].strip()) if line.startswith(b"#!") else ""
    return named if named[:1] == "/" and " " not in named and "python" in os.path.basename(named) else sys.executable


def _digest(data: bytes) -> str:
    try:
        from _blake2 import blake2b
    except ImportError:  # a Python built without it
        from hashlib import blake2b
    return str(blake2b(data, digest_size=12).hexdigest())


def _config() -> list[object]:
    """The ansible.cfg files that could count, each with time and size, and whether the folder's own may count."""
    named = os.environ.get("ANSIBLE_CONFIG")
    cwd_mode = os.stat(".").st_mode & 0o002
    paths = [named, named and os.path.join(named, "ansible.cfg"), "ansible.cfg", "~/.ansible.cfg"]
    found: list[object] = [cwd_mode]
    for path in [*paths, "/etc/ansible/ansible.cfg"]:
        if path:
            try:
                stat = os.stat(os.path.expanduser(os.path.expandvars(path)))
                found.append((path, stat.st_mtime_ns, stat.st_size))
            except OSError:
                found.append((path, None))
    return found


def _cwd_matters(env: dict[str, str]) -> bool:
    """Whether Ansible's import reads anything relative to the folder: its ansible.cfg, or a relative path."""
    if os.path.exists("ansible.cfg"):
        return True
    for name, value in env.items():
        if name.startswith("ANSIBLE_") and name not in _NOT_PATHS:
            for part in value.split(":"):
                if not (part[:1] in "/~" or part.isdigit() or part.lower() in _SCALARS):
                    return True
    return False


def _inherited() -> list[object]:
    """What a forked child has from its parent and cannot be given: limits, rights, namespaces, control group."""
    with open("/proc/self/status", encoding="utf-8", errors="replace") as file:
        seen: list[object] = [line for line in file if line.startswith(_STATUS_LINES)]
    for name in ("limits", "cgroup", "oom_score_adj"):
        with open(f"/proc/self/{name}", encoding="utf-8", errors="replace") as file:
            seen.append(file.read())
    for name in ("mnt", "net", "pid", "user", "uts", "ipc", "cgroup", "time"):
        try:
            seen.append(os.readlink(f"/proc/self/ns/{name}"))
        except OSError:
            seen.append(None)
    root = os.stat("/")
    return [*seen, root.st_dev, root.st_ino, os.getpriority(os.PRIO_PROCESS, 0)]


def _request(argv: list[str]) -> bytes:
    umask = os.umask(0o077)
    os.umask(umask)
    ignored = [n for n in range(1, _signal.NSIG) if n not in (9, 19) and _is_ignored(n)]
    blocked = [int(n) for n in _signal.pthread_sigmask(_signal.SIG_BLOCK, [])]
    body = marshal.dumps(
        {
            "argv": [os.fsencode(a) for a in argv],
            "env": dict(os.environb),
            "umask": umask,
            "ignored": ignored,
            "blocked": blocked,
            "foreground": _in_foreground(),
        }
    )
    return PROTOCOL + len(body).to_bytes(8, "big") + body


def _is_ignored(number: int) -> bool:
    try:
        return bool(_signal.getsignal(number) == _signal.SIG_IGN)
    except ValueError:
        return False


def _in_foreground() -> bool:
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False


def _connect(path: str) -> _socket.socket | None:
    """A socket to the launcher, None where there is none. A socket of somebody else's is not used."""
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        connection.settimeout(ANSWER_S)
        connection.connect(path)
        credentials = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
        if int.from_bytes(credentials[4:8], sys.byteorder) != os.getuid():
            raise OSError("not ours")
    except OSError:
        connection.close()
        return None
    return connection


def _ask(connection: _socket.socket, argv: list[str]) -> bool:
    """Send the request and wait for READY. False: nothing was started, and nothing will be."""
    try:
        data = memoryview(_request(argv))
        while data:
            data = data[connection.send(data) :]
        return bool(connection.recv(1) == READY)
    except OSError:
        return False


def _go(connection: _socket.socket) -> None:
    """Say GO and hand over our files. Not earlier: a launcher that never answers would keep them open."""
    folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    files = b"".join(fd.to_bytes(4, sys.byteorder) for fd in (0, 1, 2, folder))
    try:
        connection.sendmsg([GO], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, files)])
    finally:
        os.close(folder)


def _follow(connection: _socket.socket) -> int | None:
    """Say GO, pass signals on, and wait for the end. The wait status; None when the launcher could not fork."""

    def forward(number: int, _frame: object) -> None:
        try:
            connection.send(SIGNAL + bytes([number]))
        except OSError:
            pass  # The launcher is gone, and its child has been told by the kernel.

    for name in FORWARDED:
        number = getattr(_signal, name)
        if not _is_ignored(number):
            _signal.signal(number, forward)
    connection.settimeout(None)
    try:
        _go(connection)
        answer = _receive(connection, 1)
        if answer == REFUSED:
            return None
        if answer == STARTED and _receive(connection, 1) == ENDED:
            return int.from_bytes(_receive(connection, 4), "big")
    except OSError:
        pass
    sys.stderr.write("ERROR: the launcher was ended while it ran Ansible for this call; the run was stopped\n")
    sys.stderr.flush()
    return 250 << 8


def _receive(connection: _socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            raise OSError("closed")
        data += part
    return data


def _end_as(status: int) -> None:
    """End this process the way the child ended: with its exit code, or by its signal."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number != 9:
            _signal.signal(number, _signal.SIG_DFL)
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, [number])
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        os.kill(os.getpid(), number)
    os._exit(os.WEXITSTATUS(status))


def _start_launcher(path: str, program: str) -> None:
    """Start a launcher in a session of its own, unless one is being started or could not start just now."""
    import fcntl
    import time

    try:
        if time.time() - os.stat(path + ".failed").st_mtime < FAILED_S:
            return
    except OSError:
        pass
    lock = os.open(path + ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return
    finally:
        os.close(lock)
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    try:
        os.setsid()
        if os.fork():
            os._exit(0)
        null = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        python = interpreter(program)
        os.execv(python, [python, "-P", "-m", "stoker.runner.launcher", path, program, sys.argv[2]])
    finally:
        os._exit(127)


def main() -> None:
    """Run the program, warm or plain. Does not return."""
    folder, fingerprint, program = sys.argv[1:4]
    argv = [program, *sys.argv[4:]]
    if os.environ.get("STOKER_LAUNCHER", "").lower() != "off":
        try:
            path = os.path.join(folder, launcher_key(program, fingerprint))
        except OSError:
            path = None
        if path is not None:
            connection = _connect(path)
            if connection is None:
                try:
                    _start_launcher(path, program)
                except OSError:
                    pass  # The plain program needs no launcher.
            elif _ask(connection, argv):
                status = _follow(connection)
                if status is not None:
                    _end_as(status)
    os.execv(program, argv)


if __name__ == "__main__":
    main()
