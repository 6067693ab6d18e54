#!/usr/bin/env bash
# Run every line of gpu_gate.txt on real weights and data, hold the results against the papers'
# figures and, once they are pinned, against expected/gpu. Killed, it goes on where it stopped.
#   gpu_gate.sh          exit code 3 if a figure is missed or a value moved
#   gpu_gate.sh --pin    take the values of this machine as the expected ones
# Needs OVBENCH_DATA. OVBENCH_GATE_RUNS keeps the runs (default: runs/gpu-gate).
set -euo pipefail
cd "$(dirname "$0")/.."
: "${OVBENCH_DATA:?set it to the folder that holds the unpacked archives, see docs/datasets.md}"
runs=${OVBENCH_GATE_RUNS:-runs/gpu-gate}
bash ci/gate.sh ci/gpu_gate.txt "$runs" 1 # one at a time: they share a GPU
ovbench leaderboard "$runs" --with-reported >gpu-gate.md
if [ "${1:-}" = --pin ]; then
  exec ovbench regress "$runs" --expected ci/expected/gpu --pin
fi
failed=0
ovbench regress "$runs" --paper || failed=$?
if [ -d ci/expected/gpu ]; then
  ovbench regress "$runs" --expected ci/expected/gpu || failed=$?
fi
exit "$failed"
