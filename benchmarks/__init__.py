"""Benchmarks: this program ("ours") and its peers, measured in one run on one machine. ``python -m benchmarks --help``.

Figures are those of the client: its processor time (user and system), its wall time, its memory. The server is the
sandbox, in a separate process and, on machines with two cores or more, on another core. Benchmarks are not tests: tests
assert counts and order, benchmarks measure.
"""
