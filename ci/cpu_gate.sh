#!/usr/bin/env bash
# Run every line of cpu_gate.txt on the miniatures and hold the results against expected/cpu.
#   cpu_gate.sh          exit code 3 if a value moved
#   cpu_gate.sh --pin    take the values of this machine as the expected ones
set -euo pipefail
cd "$(dirname "$0")/.."
runs=$(mktemp -d)
trap 'rm -rf "$runs"' EXIT
export OVBENCH_CACHE="$runs/cache" # what methods prepare is made by the code that is tested
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
python ci/forks.py ci/cpu_gate.txt "$runs" "$(getconf _NPROCESSORS_ONLN)"
ovbench regress "$runs" --expected ci/expected/cpu "$@"
