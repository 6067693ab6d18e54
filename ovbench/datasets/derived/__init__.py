"""Datasets that follow from another choice: those of a run, and those to tune on."""
