"""The environment Ansible runs in: fast and safe defaults, and the user's own ansible.cfg where it is no danger."""

from __future__ import annotations

import configparser
import hashlib
import locale
import os
import shutil
import stat
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stoker.errors import StokerError

# A Unix socket path holds 107 bytes; ssh adds 17 characters while it makes one, and %C with its slash has 41.
_LONGEST_CONTROL_DIR = 107 - 17 - 41
# A launcher's socket is named by 24 characters, and by its process id as well while it is made.
_LONGEST_LAUNCHER_DIR = 107 - 1 - 24 - 8
_DEFAULT_COLLECTIONS = "~/.ansible/collections:/usr/share/ansible/collections"


@dataclass(frozen=True)
class _Default:
    """A value for an Ansible setting, and where in ansible.cfg the user may have said something else."""

    value: str
    option: tuple[str, str]


def _defaults(forks: int, connect_timeout_s: int, control_dir: str) -> dict[str, _Default]:
    return {
        "ANSIBLE_PIPELINING": _Default("True", ("connection", "pipelining")),
        "ANSIBLE_SSH_ARGS": _Default(
            # A dead peer is noticed within 15 s, so that no stale connection stays behind a control socket.
            "-C -o ControlMaster=auto -o ControlPersist=300s -o ServerAliveInterval=5 -o ServerAliveCountMax=3",
            ("ssh_connection", "ssh_args"),
        ),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": _Default(control_dir, ("ssh_connection", "control_path_dir")),
        # ssh's own hash tells two machines of one address behind two jump hosts apart; Ansible's does not.
        "ANSIBLE_SSH_CONTROL_PATH": _Default("%(directory)s/%%C", ("ssh_connection", "control_path")),
        "ANSIBLE_TIMEOUT": _Default(str(connect_timeout_s), ("defaults", "timeout")),
        "ANSIBLE_FORKS": _Default(str(forks), ("defaults", "forks")),
        "ANSIBLE_GATHERING": _Default("explicit", ("defaults", "gathering")),
        "ANSIBLE_DEPRECATION_WARNINGS": _Default("False", ("defaults", "deprecation_warnings")),
    }


# Held against everything else. Host keys: a host may still say `ansible_host_key_checking: false` in the inventory.
_FIXED = {
    "ANSIBLE_HOST_KEY_CHECKING": "True",
    "ANSIBLE_RETRY_FILES_ENABLED": "False",
    "ANSIBLE_NOCOWS": "True",
    "ANSIBLE_NOCOLOR": "True",
    "ANSIBLE_FORCE_COLOR": "False",
    "ANSIBLE_STDOUT_CALLBACK": "default",
    # The event stream drops a result longer than this many characters; a node's reply with logs can be long.
    "MAX_EVENT_RES": str(256 * 1024 * 1024),
}

# Nobody answers a question here: ssh must refuse an unknown host key or a locked key instead of waiting.
_NO_QUESTIONS = {"SSH_ASKPASS": "/bin/false", "SSH_ASKPASS_REQUIRE": "force"}


def playbook_environment(
    *, forks: int, connect_timeout_s: int, control_dir: Path, cwd: Path, environ: Mapping[str, str] | None = None
) -> dict[str, str]:
    """What to add to the environment of ansible-playbook. Raises StokerError for an ansible.cfg that is no INI file."""
    own = os.environ if environ is None else environ
    config = _read_config(config_file(own, cwd))
    added = dict(_FIXED)
    for name, default in _defaults(forks, connect_timeout_s, str(control_dir)).items():
        if name not in own and not config.has_option(*default.option):
            added[name] = default.value
    # Pipelining has two spellings each, in the file and in the environment.
    if "ANSIBLE_SSH_PIPELINING" in own or config.has_option("ssh_connection", "pipelining"):
        added.pop("ANSIBLE_PIPELINING", None)
    if "SSH_ASKPASS_REQUIRE" not in own:
        added.update(_NO_QUESTIONS)
    for name in ("JOB_ID", "PROJECT_UPDATE_ID"):
        # ansible-runner's callback reads these as numbers of AWX and fails on anything else.
        if name in own and not own[name].isdigit():
            added[name] = ""
    added["ANSIBLE_COLLECTIONS_PATH"] = _collections_path(own, config)
    return added | utf8_locale()


def utf8_locale() -> dict[str, str]:
    """What Ansible needs where the locale is not UTF-8 (LC_ALL=C, as in cron): it refuses to start there."""
    charset = locale.nl_langinfo(locale.CODESET) if locale.setlocale(locale.LC_CTYPE) else ""
    return {} if charset.upper().replace("-", "") == "UTF8" else {"LC_ALL": "C.UTF-8"}


def config_file(environ: Mapping[str, str], cwd: Path) -> Path | None:
    """The ansible.cfg that Ansible would take: ANSIBLE_CONFIG, the folder (unless all may write to it), home, /etc."""
    candidates: list[Path] = []
    if "ANSIBLE_CONFIG" in environ:
        named = Path(os.path.expandvars(environ["ANSIBLE_CONFIG"])).expanduser()
        named = named if named.is_absolute() else cwd / named
        candidates.append(named / "ansible.cfg" if named.is_dir() else named)
    try:
        if not cwd.stat().st_mode & stat.S_IWOTH:
            candidates.append(cwd / "ansible.cfg")
    except OSError:
        pass  # Ansible itself skips a folder it cannot look at.
    candidates.append(Path("~/.ansible.cfg").expanduser())
    candidates.append(Path("/etc/ansible/ansible.cfg"))
    return next((c for c in candidates if os.access(c, os.R_OK)), None)


def _read_config(path: Path | None) -> configparser.ConfigParser:
    config = configparser.ConfigParser(inline_comment_prefixes=(";",), interpolation=None, strict=False)
    if path is not None:
        try:
            config.read_string(path.read_text(encoding="utf-8"), source=str(path))
        except (configparser.Error, OSError, UnicodeDecodeError) as error:
            reason = str(error).replace("\n", " ")
            raise StokerError(f"{path}: Ansible's settings cannot be read: {reason}") from error
    return config


def collections_path() -> str:
    """ANSIBLE_COLLECTIONS_PATH for this process: our own collection first, then what the user has."""
    return _collections_path(os.environ, _read_config(config_file(os.environ, Path.cwd())))


def _collections_path(environ: Mapping[str, str], config: configparser.ConfigParser) -> str:
    theirs = environ.get("ANSIBLE_COLLECTIONS_PATH")
    if theirs is None:
        theirs = config.get("defaults", "collections_path", fallback=_DEFAULT_COLLECTIONS)
    ours = str(collections_root(environ))
    return ":".join([ours, *(p for p in theirs.split(":") if p and p != ours)])


def collections_root(environ: Mapping[str, str] | None = None) -> Path:
    """The folder over ``ansible_collections/stoker/fleet`` that belongs to this package: same version, same tree.

    An installed package has it beside itself; a checkout gets a link to itself in the cache folder. Raises
    StokerError when there is none.
    """
    own = os.environ if environ is None else environ
    here = Path(__file__).resolve()
    site = here.parents[2]
    if _holds_collection(site):
        return site
    checkout = here.parents[4]
    if (checkout / "plugins" / "module_utils").is_dir():
        return _linked(checkout)
    for entry in own.get("ANSIBLE_COLLECTIONS_PATH", _DEFAULT_COLLECTIONS).split(":"):
        folder = Path(entry).expanduser()
        if entry and _holds_collection(folder):
            return folder
    raise StokerError(
        "the Ansible collection stoker.fleet is not installed beside this package",
        next_step="install Stoker again: pip install --force-reinstall stoker",
    )


def collection_dir() -> Path:
    """The folder of the collection itself (plugins, playbooks, inventories)."""
    return collections_root() / "ansible_collections" / "stoker" / "fleet"


def _holds_collection(folder: Path) -> bool:
    return (folder / "ansible_collections" / "stoker" / "fleet" / "plugins").is_dir()


def _linked(checkout: Path) -> Path:
    from stoker.paths import cache_dir

    digest = hashlib.sha256(os.fsencode(checkout)).hexdigest()[:12]
    root = cache_dir() / f"checkout-{digest}"
    link = root / "ansible_collections" / "stoker" / "fleet"
    if not link.exists():
        link.parent.mkdir(parents=True, exist_ok=True)
        fresh = link.with_name(f".fleet-{os.getpid()}")
        fresh.symlink_to(checkout, target_is_directory=True)
        fresh.replace(link)
    return root


def control_dir() -> Path:
    """A folder for ssh's control sockets: mode 0700, ours, and short enough for a socket. Raises StokerError."""
    return _socket_folder("cp", _LONGEST_CONTROL_DIR)


def launcher_dir() -> Path:
    """A folder for the launchers' sockets: mode 0700, ours, and short enough for a socket. Raises StokerError."""
    return _socket_folder("launcher", _LONGEST_LAUNCHER_DIR)


def _socket_folder(name: str, longest: int) -> Path:
    from stoker.paths import private_folder, runtime_dir

    folder = runtime_dir() / name
    if len(os.fsencode(folder)) > longest:
        digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:8]
        folder = Path(f"/tmp/stoker-{os.getuid()}-{digest}")
    return private_folder(folder)


def ansible_version() -> str:
    """The version of ansible-core beside this package, without importing it."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("ansible-core")
    except PackageNotFoundError as error:
        raise _no_ansible("ansible-core") from error


def _no_ansible(what: str) -> StokerError:
    return StokerError(f"{what} is not installed", next_step=f"{sys.executable} -m pip install ansible-core")


def program(name: str, *, launcher: bool) -> list[str]:
    """The command that runs Ansible's program `name`: through the launcher, or plainly. Raises StokerError."""
    plain = str(ansible_program(name))
    if not launcher or os.environ.get("STOKER_LAUNCHER", "").lower() == "off" or not sys.platform.startswith("linux"):
        return [plain]
    from stoker.runner import client
    from stoker.runner.fingerprint import code_fingerprint

    return [sys.executable, "-I", "-S", client.__file__, str(launcher_dir()), code_fingerprint(), plain]


def ansible_program(name: str) -> Path:
    """The full path of an Ansible program (``ansible-playbook``) that uses this very Python. Raises StokerError."""
    for folder in (Path(sys.executable).parent, Path(sysconfig.get_path("scripts"))):
        if os.access(folder / name, os.X_OK):
            return folder / name
    found = shutil.which(name)
    if found is None:
        raise _no_ansible(name)
    return Path(found)
