"""Benchmarks: what procmem costs, side by side with a baseline, as ratios.

`python -m benchmarks` measures all and prints the table of docs/performance.md.
"""
