#!/usr/bin/env bash
# Rows of a table: the mIoU of runs and how far each is from a first one on the same images, with the
# 95 % interval of the paired jackknife.
#   differences.sh BASE RUN...
set -euo pipefail
base=$1
shift
for run in "$@"; do
  found=$(ovbench compare "$run" "$base" --json)
  python -c '
import json, sys
found = json.loads(sys.argv[2])["overall"]
print("| `{}` | {a:.1f} | {effect:+.1f} ({low:+.1f} to {high:+.1f}) |".format(sys.argv[1], **found))
' "$(basename "$run")" "$found"
done
