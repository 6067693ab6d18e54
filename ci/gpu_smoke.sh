#!/usr/bin/env bash
# A GPU's labels against a CPU's, for every method: `pytest -m gpu tests/gpu`, within ten minutes.
#   gpu_smoke.sh [ARGUMENTS OF PYTEST]
# A machine that has PyTorch with CUDA, transformers, timm and scipy, and reaches nothing, needs the
# other packages as wheels in .whl beside this folder's parent (WHEELS names another place):
#   python -m pip download --only-binary=:all: -d .whl open-clip-torch diffusers segment-anything \
#     pycocotools scikit-learn typer rich filelock matplotlib pytest hypothesis
# Of these, what the machine has already stays as it is. Figures go to gpu-smoke.jsonl.
set -euo pipefail
cd "$(dirname "$0")/.."
wheels=${WHEELS:-.whl}
if [ -d "$wheels" ]; then
  site=$(mktemp -d)
  trap 'rm -rf "$site"' EXIT
  python3 -m pip install -q --no-index --no-deps --no-compile --target "$site" "$wheels"/*.whl
  export PYTHONPATH="$site${PYTHONPATH:+:$PYTHONPATH}"
fi
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" HF_HUB_OFFLINE=1
export OVBENCH_GPU_FIGURES="${OVBENCH_GPU_FIGURES:-$PWD/gpu-smoke.jsonl}"
timeout 600 python3 -m pytest -m gpu tests/gpu --durations=10 "$@"
