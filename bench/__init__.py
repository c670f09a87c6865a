"""Benchmarks of kvmlab itself: `python -m bench` runs all of them, `python -m bench NAME…` some.

Each prints medians and ratios and writes them to `bench/results/NAME.json`.
"""
