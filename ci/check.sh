#!/usr/bin/env bash
# Lint, types, the site, tests, slow tests and the CPU gate; arguments go to both runs of pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
ruff check .
ruff format --check .
mypy
NO_MKDOCS_2_WARNING=1 mkdocs build --strict
# One process per core with one thread each: PyTorch's threads get in each other's way when a
# machine is busy. Of the slow tests, which take gigabytes, two at a time.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
pytest -n auto "$@"
pytest -n 2 -m slow "$@"
bash ci/cpu_gate.sh
