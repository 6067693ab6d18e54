"""``python -m ovbench``, also what ``torchrun -m ovbench`` starts."""

from ovbench.cli import main

main()
