#!/usr/bin/env bash
# Make the runs of a gate's list; those that were killed are finished, finished ones are kept.
#   gate.sh LIST RUNS JOBS
set -euo pipefail
list=$1 runs=$2 jobs=$3
mkdir -p "$runs"
export runs
make_run() {
  name=$(tr -cs 'a-zA-Z0-9_=\n' '-' <<<"$1" | sed 's/^-*//')
  # shellcheck disable=SC2086 # a line is arguments, split at blanks
  ovbench run $1 --output "$runs/$name" --json >/dev/null 2>"$runs/$name.log" ||
    { echo "failed: ovbench run $1"; tail -n 3 "$runs/$name.log"; exit 1; } >&2
}
export -f make_run
grep -v -e '^#' -e '^ *$' "$list" |
  xargs -d '\n' -P "$jobs" -I LINE bash -euo pipefail -c 'make_run "$1"' gate LINE
