# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The state folder of a node: where things lie, and how they are written so that nothing is ever half there."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import shutil
import time

from . import identity

JOB_ID = re.compile(r"^[a-z0-9][a-z0-9._-]{0,62}$")
# Enough for any exit record, state and request to stop. Reserved at the start, so that a disk that filled up later
# cannot lose the record, nor keep an attempt from being stopped.
RESERVE_BYTES = 4096
# An order that was on its way for longer than this came from no round.
CLOSED_KEEP_S = 30 * 86400.0


class NodeError(Exception):
    """A request that cannot be carried out here. ``code`` is one of those in docs/architecture.md."""

    def __init__(self, code, message, next_step=None):
        super().__init__(message)
        self.code = code
        self.message = message
        self.next_step = next_step

    def as_dict(self):
        return {"code": self.code, "message": self.message, "next": self.next_step}


def from_os_error(exc):
    """Turn an OSError into a NodeError with the code that the controller acts on."""
    where = " ({0})".format(exc.filename) if exc.filename else ""
    text = "{0}{1}".format(exc.strerror or exc, where)
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return NodeError("no_space", text, "free some space on the node, or set stoker_state_dir to another disk")
    if exc.errno == errno.EROFS:
        return NodeError("read_only", text, "make the file system writable, or set stoker_state_dir to another one")
    if exc.errno in (errno.EACCES, errno.EPERM):
        return NodeError("no_permission", text, "check who owns the state folder on the node")
    return NodeError("internal", text)


def make_private(path):
    """Create a folder with mode 0700, parents too."""
    os.makedirs(path, mode=0o700, exist_ok=True)


def sync_folder(path):
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_json(path, value):
    """Replace ``path`` by ``value`` as JSON: temporary name, fsync, rename. Mode 0600."""
    temporary = "{0}.{1}.tmp".format(path, os.getpid())
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as handle:
            json.dump(value, handle, ensure_ascii=True)
            handle.flush()
            os.fsync(handle.fileno())
        os.rename(temporary, path)
    except OSError:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise


def read_json(path):
    """The JSON value in ``path``; None where there is no such file."""
    try:
        with open(path, encoding="utf-8") as handle:
            return json.load(handle)
    except FileNotFoundError:
        return None


def _reserve_of(name):
    return os.path.splitext(name)[0] + ".reserve"


def _open_locked(path):
    """A descriptor of the file that ``path`` is once nobody else has it locked; None where there is no such file."""
    while True:
        try:
            fd = os.open(path, os.O_WRONLY)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if os.path.samestat(os.fstat(fd), os.stat(path)):
                return fd
        except FileNotFoundError:
            pass
        os.close(fd)


class Lock:
    """An flock on a file. It ends with the last process that inherited it, so a crash never leaves it behind."""

    def __init__(self, path, inheritable=False, shared=False):
        self.path = path
        self.inheritable = inheritable
        self.shared = shared  # between the users of the machine
        self.fd = -1

    def acquire(self, block=False):
        """Take the lock; False where somebody else holds it."""
        try:
            # Not with O_CREAT: in a sticky folder the kernel may refuse that for another user's file.
            fd = os.open(self.path, os.O_RDWR)
        except FileNotFoundError:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666 if self.shared else 0o600)
        try:
            if self.shared and os.fstat(fd).st_uid == os.geteuid():
                os.fchmod(fd, 0o666)
            fcntl.flock(fd, fcntl.LOCK_EX | (0 if block else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(fd)
            return False
        except BaseException:
            os.close(fd)
            raise
        os.set_inheritable(fd, self.inheritable)
        self.fd = fd
        return True

    def release(self):
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self):
        self.acquire(block=True)
        return self

    def __exit__(self, *_exc):
        self.release()


def is_locked(path):
    """Whether some process holds the flock on ``path``; False where there is no such file."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        # Shared: two observers that look at once must not take each other for the holder.
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


class Attempt:
    """The folder of one attempt: jobs/<job>/<number>."""

    def __init__(self, state, job, number):
        self.state_dir = state
        self.job = job
        self.number = int(number)
        self.path = os.path.join(state.path, "jobs", job, str(self.number))

    def __repr__(self):
        return "{0}/{1}".format(self.job, self.number)

    def file(self, name):
        return os.path.join(self.path, name)

    def exists(self):
        return os.path.isdir(self.path)

    def read(self, name):
        return read_json(self.file(name))

    def write(self, name, value):
        """Replace a file of the attempt; on a full disk in the space that ``reserve`` kept for it."""
        try:
            write_json(self.file(name), value)
        except OSError as exc:
            if exc.errno not in (errno.ENOSPC, errno.EDQUOT) or not self._write_reserved(name, value):
                raise

    def reserve(self, name):
        """Keep space for one more writing of a file, so that an attempt can be ended on a full disk."""
        fd = os.open(self.file(_reserve_of(name)), os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.write(fd, b" " * RESERVE_BYTES)
        finally:
            os.close(fd)

    def _write_reserved(self, name, value):
        """Write into the reserved space, and rename it. Returns False where there is none, or not enough."""
        data, reserve = json.dumps(value).encode("ascii"), self.file(_reserve_of(name))
        fd = _open_locked(reserve) if len(data) <= RESERVE_BYTES else None
        if fd is None:
            return False
        try:
            os.pwrite(fd, data.ljust(RESERVE_BYTES), 0)
            os.fsync(fd)
            # What is replaced is the space for the next time.
            before = reserve + ".next"
            try:
                os.link(self.file(name), before)
            except (FileNotFoundError, FileExistsError):
                pass
            os.rename(reserve, self.file(name))
            if os.path.exists(before):
                os.rename(before, reserve)
        finally:
            os.close(fd)
        return True

    def update_state(self, **fields):
        """Merge fields into state.json; supervisor and recorder both do, hence the lock."""
        with Lock(self.file("state.lock")):
            state = self.read("state.json") or {"schema": "stoker.state/1"}
            state.update(fields)
            self.write("state.json", state)
        return state

    def reserve_exit(self):
        fd = os.open(self.file("exit.reserve"), os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.write(fd, b" " * RESERVE_BYTES)
            os.fsync(fd)
        finally:
            os.close(fd)

    def write_exit(self, record):
        """Write exit.json once: the first writer wins. Returns True where this call wrote it.

        Uses the space reserved at the start; raises OSError where even that cannot be written.
        """
        data = json.dumps(record).encode("ascii")
        if len(data) > RESERVE_BYTES:
            record = dict(record, error=str(record.get("error"))[:500], detail=str(record.get("detail"))[:500])
            data = json.dumps(record).encode("ascii")
        with Lock(self.file("state.lock")):
            if os.path.exists(self.file("exit.json")):
                return False
            fd = os.open(self.file("exit.reserve"), os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.pwrite(fd, data.ljust(RESERVE_BYTES), 0)
                os.fsync(fd)
            finally:
                os.close(fd)
            os.rename(self.file("exit.reserve"), self.file("exit.json"))
            sync_folder(self.path)
        self.drop_secrets()
        return True

    def drop_secrets(self):
        """Remove the values of secrets: the command has them, or will never need them."""
        try:
            os.unlink(self.file("secrets.json"))
        except FileNotFoundError:
            pass

    def finished(self):
        return os.path.exists(self.file("exit.json"))


class StateDir:
    """The state folder of this node (by default ``~/.stoker``)."""

    def __init__(self, path, lock_dir=None):
        self.path = os.path.abspath(os.path.expanduser(path))
        self.lock_dir = os.path.abspath(os.path.expanduser(lock_dir)) if lock_dir else os.path.join(self.path, "locks")

    def prepare(self):
        """Create the folders. Refuses a state folder that somebody else owns."""
        make_private(self.path)
        status = os.stat(self.path)
        if status.st_uid != os.geteuid():
            raise NodeError(
                "no_permission",
                "{0} belongs to uid {1}, not to uid {2}".format(self.path, status.st_uid, os.geteuid()),
                "set stoker_state_dir for this node to a folder of its user",
            )
        if status.st_mode & 0o077:
            os.chmod(self.path, 0o700)
        for name in ("jobs", "queue"):
            make_private(os.path.join(self.path, name))
        if not os.path.isdir(self.lock_dir):
            make_private(self.lock_dir)
            if self.locks_are_shared:
                os.chmod(self.lock_dir, 0o1777)
        self._claim()

    @property
    def locks_are_shared(self):
        """Whether the GPU locks lie outside of this folder, for all users of the machine."""
        return not self.lock_dir.startswith(self.path + os.sep)

    def _claim(self):
        """Refuse the folder of another machine: on a shared home its living jobs would look lost from here."""
        here = identity.machine()
        path = os.path.join(self.path, "node.json")
        owner = read_json(path)
        if owner is None:
            write_json(path, {"machine": here, "hostname": os.uname().nodename})
        elif owner.get("machine") != here:
            raise NodeError(
                "conflict",
                "{0} is the state folder of another machine, {1}".format(self.path, owner.get("hostname")),
                "give each node that shares this home its own: stoker_state_dir: ~/.stoker-{{ inventory_hostname }}; "
                "if this is the same machine with a new identity, remove node.json there",
            )

    def job_path(self, job):
        return os.path.join(self.path, "jobs", job)

    def jobs(self):
        """Ids of all jobs that have a folder here, sorted."""
        try:
            names = os.listdir(os.path.join(self.path, "jobs"))
        except FileNotFoundError:
            return []
        return sorted(name for name in names if JOB_ID.match(name))

    def attempts(self, job):
        """All attempts of a job here, oldest first."""
        try:
            names = os.listdir(self.job_path(job))
        except FileNotFoundError:
            return []
        return [Attempt(self, job, number) for number in sorted(int(name) for name in names if name.isdigit())]

    def attempt(self, job, number=None):
        """One attempt, the newest where no number is given. Raises NodeError where there is none."""
        if not isinstance(job, str) or not JOB_ID.match(job):
            raise NodeError("bad_request", "{0!r} is not a job id".format(job))
        known = self.attempts(job)
        chosen = [item for item in known if number is None or item.number == int(number)]
        if not chosen:
            what = "job {0}".format(job) if number is None else "attempt {0} of job {1}".format(number, job)
            raise NodeError("unknown_job", "no {0} in {1}".format(what, self.path), "stoker jobs lists the jobs")
        return chosen[-1]

    def close_attempts(self, uid, number):
        """Let no attempt of this very job up to ``number`` begin here any more: an order may still be on its way."""
        folder = os.path.join(self.path, "jobs", ".closed")
        make_private(folder)
        horizon = time.time() - CLOSED_KEEP_S
        for name in os.listdir(folder):
            try:
                if os.stat(os.path.join(folder, name)).st_mtime < horizon:
                    os.unlink(os.path.join(folder, name))
            except FileNotFoundError:
                continue  # another call was faster
        write_json(os.path.join(folder, uid), max(number, self.closed_attempts(uid)))

    def closed_attempts(self, uid):
        """Up to which number attempts of this job may not begin here any more; 0: any may."""
        return read_json(os.path.join(self.path, "jobs", ".closed", uid)) or 0

    def has_attempt(self, job, number):
        """Whether the attempt was accepted here."""
        return Attempt(self, job, number).exists()

    def create_attempt(self, job, number, files):
        """Create the attempt's folder with its files in one step.

        Returns True where this call created it. The rename onto a folder that is not empty fails, and that is the
        lock: of two controllers that start one attempt at once, one creates it.
        """
        target = Attempt(self, job, number)
        make_private(self.job_path(job))
        temporary = os.path.join(self.job_path(job), ".new-{0}-{1}".format(number, os.getpid()))
        shutil.rmtree(temporary, ignore_errors=True)
        os.mkdir(temporary, 0o700)
        try:
            draft = Attempt(self, job, number)
            draft.path = temporary
            for name, value in files.items():
                draft.write(name, value)
            draft.reserve_exit()
            for name in ("stop.json", "state.json"):
                draft.reserve(name)
            try:
                os.rename(temporary, target.path)
            except OSError as exc:
                if exc.errno in (errno.ENOTEMPTY, errno.EEXIST):
                    return False
                raise
            sync_folder(self.job_path(job))
            return True
        finally:
            if os.path.isdir(temporary):
                shutil.rmtree(temporary, ignore_errors=True)
