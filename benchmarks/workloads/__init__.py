"""The workloads, one module each. ``measure(bench)`` returns plain figures; no workload depends on another's run."""
