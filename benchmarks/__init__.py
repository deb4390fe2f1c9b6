"""Benchmarks: what a reading costs, side by side with its baseline, as ratios.

`python -m benchmarks` measures all and prints the table of docs/performance.md.
"""
