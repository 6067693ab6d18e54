"""The dense CRF by compiled loops, for the CPU, where numba is installed."""
