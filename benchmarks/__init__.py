"""Benchmarks: ours and its peers, measured in one run on one machine. ``python -m benchmarks --help``.

Figures are of the client: its processor time (user and system), its wall time, its memory. The server is the sandbox,
in a process and, where there are two, on a core of its own. Nothing here is a test: tests assert counts and order,
benchmarks measure.
"""
