"""Parts of tools/benchmark.py: what is run, how, and what is told of it."""
