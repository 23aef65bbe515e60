"""How fast, how much memory: `python -m benchmarks` prints one table; the scripts beside it look at one thing each."""
