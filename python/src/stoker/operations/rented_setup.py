"""Making a rented machine ready for jobs: what a node needs, then what its pool says.

The script runs on the machine, apart from any connection; each question starts it where it neither runs nor has
ended, and renews the lease that the machine has of its own. So nothing here waits for it, and a controller that is
killed meanwhile finds it where it is.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from stoker.operations import rented_ssh
from stoker.runner.rented_nodes import RentedPlace

_MARK = "STOKER-SETUP "
# How long one question may take, in seconds.
ASK_S = 20.0
_LOG_BYTES = 2000
# A login shell of the provider's images lands in tmux unless told not to.
_NODE = """\
cd "$HOME"
touch .no_auto_tmux
missing=
command -v python3 >/dev/null 2>&1 || missing="$missing python3"
command -v rsync >/dev/null 2>&1 || missing="$missing rsync"
if [ -n "$missing" ]; then
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q
  apt-get install -q -y --no-install-recommends $missing
fi
python3 -c 'import sys; sys.exit(sys.version_info < (3, 8))' || { echo "Python 3.8 or later is needed" >&2; exit 1; }
"""
_QUESTION = """\
umask 077
[ ! -e "$HOME/.stoker/alive" ] || touch "$HOME/.stoker/alive"
d="$HOME/.stoker-setup"; mkdir -p "$d" && cd "$d" || {{ echo '{mark}failed no folder'; exit 0; }}
command -v flock >/dev/null 2>&1 || {{ echo '{mark}failed flock is missing on this image'; exit 0; }}
if [ ! -f {name}.rc ]; then
  printf %s {script} >{name}.sh.new && mv {name}.sh.new {name}.sh
  setsid nohup flock -n {name}.lock sh -c '
    [ -f {name}.rc ] && exit 0
    sh -e {name}.sh >{name}.log 2>&1 </dev/null
    echo $? >{name}.rc.new; mv {name}.rc.new {name}.rc' >/dev/null 2>&1 </dev/null &
fi
i=0; while [ ! -f {name}.rc ] && [ $i -lt {waits} ]; do sleep 0.2; i=$((i+1)); done
if [ -f {name}.rc ]; then echo "{mark}ended $(cat {name}.rc)"; tail -c {bytes} {name}.log; else echo '{mark}running'; fi
"""


@dataclass(frozen=True)
class SetUp:
    """How far it is. `told`: the end of its log where it failed, or why the machine could not be asked (`unknown`)."""

    state: Literal["running", "done", "failed", "unknown"]
    told: str = ""


def script(commands: Sequence[str], env: Mapping[str, str]) -> str:
    """What runs on the machine: each command has to succeed, or the next one does not run."""
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in sorted(env.items()))
    steps = "".join(f"echo {shlex.quote('+ ' + command)}\nsh -e -c {shlex.quote(command)}\n" for command in commands)
    return _NODE + exports + steps


def ask(
    place: RentedPlace, host: str, port: int, host_key: str, commands: Sequence[str], env: Mapping[str, str],
    wait_s: float = 2.0,
) -> SetUp:  # fmt: skip
    """Start the setup where that is due, wait a moment for its end, and say how far it is."""
    text = script(commands, env)
    question = _QUESTION.format(
        mark=_MARK, name=f"setup-{hashlib.sha256(text.encode()).hexdigest()[:12]}", script=shlex.quote(text),
        waits=int(wait_s * 5), bytes=_LOG_BYTES,
    )  # fmt: skip
    ran = rented_ssh.ask(place, host, port, host_key, question, ASK_S + wait_s)
    if ran.problem is not None:
        return SetUp("unknown", ran.problem)
    said = [line for line in ran.output.splitlines() if line.startswith(_MARK)]
    words = said[-1][len(_MARK) :].split(" ", 1) if said else [""]
    if words[0] == "running":
        return SetUp("running")
    if words[0] == "ended" and words[1:] == ["0"]:
        return SetUp("done")
    if words[0] == "ended":
        return SetUp("failed", _failure(words[1:], ran.output))
    return SetUp("failed", words[1]) if words[0] == "failed" else SetUp("unknown", "it gave no answer that can be read")


def _failure(code: Sequence[str], output: str) -> str:
    """The exit code, and the last line of the log."""
    lines = [line.strip() for line in output.splitlines() if line.strip() and not line.startswith(_MARK)]
    return f"the setup ended with {' '.join(code)}" + (f": {lines[-1][:300]}" if lines else "")
