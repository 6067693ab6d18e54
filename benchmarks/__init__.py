"""ovbench beside what a user would pick instead; ``python -m benchmarks`` measures all of it."""
