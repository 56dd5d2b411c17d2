#!/usr/bin/env bash
# A first job: a small training, followed to its end on this machine, then what Stoker knows of it.
set -euo pipefail
cd "$(dirname "$0")/.."
unset STOKER_INVENTORY STOKER_CONFIG

say() {
    printf '\n→'
    printf ' %s' "$@"
    printf '\n'
}

printf '✓ Python %s · venv .venv · %s\n' "$(python -c 'import platform; print(platform.python_version())')" "$(stoker --version)"

command=(stoker run --name demo --follow --metric 'loss=loss ([0-9.]+)' --metric 'val=val ([0-9.]+)' --
    python3 examples/char_model/train.py "$@")
say "stoker run --name demo --follow --metric 'loss=loss ([0-9.]+)' --metric 'val=val ([0-9.]+)' -- python3 examples/char_model/train.py${*:+ $*}"
status=0
"${command[@]}" || status=$?
echo "exit code $status"

job=$(stoker jobs --json | python -c '
import json, sys
print(max((job for job in json.load(sys.stdin)["value"]["jobs"] if job["name"] == "demo"), key=lambda job: job["created_at"])["id"])')
say stoker job "$job"
stoker job "$job"
say stoker logs "$job" --tail 5
stoker logs "$job" --tail 5
say tail -n 3 "runs/$job/metrics.jsonl"
tail -n 3 "runs/$job/metrics.jsonl"
exit "$status"
