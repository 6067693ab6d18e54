#!/usr/bin/env bash
# Measure every line of toyworld.txt and write leaderboards/toyworld.md from the results: as many runs
# at a time as there are cores, with one thread each, on a machine that does nothing else, as the table
# has times.
#   toyworld.sh RUNS     killed, it goes on where it stopped; delete RUNS to measure anew
set -euo pipefail
cd "$(dirname "$0")/.."
runs=$1
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
bash ci/gate.sh ci/toyworld.txt "$runs" "$(getconf _NPROCESSORS_ONLN)"
for result in "$runs"/*/result.json; do
  name=$(basename "$(dirname "$result")" | sed -e 's/^method-//' -e 's/dataset-//' -e 's/-limit-[0-9]*//')
  mkdir -p "leaderboards/toyworld/$name"
  cp "$result" "leaderboards/toyworld/$name/result.json"
done
ovbench leaderboard leaderboards/toyworld --update leaderboards/toyworld.md
