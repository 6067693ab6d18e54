"""The protocol, the runner, metrics, the profiler, the run store and the registry."""
