#!/usr/bin/env bash
# Measure every line of a list of runs in the rendered world and write its leaderboard from the results:
# as many runs at a time as there are cores, with one thread each, on a machine that does nothing else, as
# the table has times.
#   toyworld.sh RUNS [LIST]   killed, it goes on where it stopped; delete RUNS to measure anew. LIST is
#                             toyworld unless told otherwise: ci/LIST.txt and leaderboards/LIST.md
set -euo pipefail
cd "$(dirname "$0")/.."
runs=$1 list=${2:-toyworld}
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
bash ci/gate.sh "ci/$list.txt" "$runs" "$(getconf _NPROCESSORS_ONLN)"
for result in "$runs"/*/result.json; do
  name=$(basename "$(dirname "$result")" | sed -e 's/^method-//' -e 's/dataset-//' -e 's/-limit-[0-9]*//')
  mkdir -p "leaderboards/$list/$name"
  cp "$result" "leaderboards/$list/$name/result.json"
done
ovbench leaderboard "leaderboards/$list" --update "leaderboards/$list.md"
