"""Benchmark and evaluation harness for open-vocabulary semantic segmentation."""
