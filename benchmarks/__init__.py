"""Benchmarks of the running server, beside the smallest Authlib server: `python -m benchmarks`, see README.md."""
