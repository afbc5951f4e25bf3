"""Comparisons of taskloom with its peers, measured in one run: ``python -m benchmarks``. See README.md."""
