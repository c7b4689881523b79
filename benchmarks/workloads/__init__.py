"""The workloads, a module each. ``measure(bench)`` returns plain figures; every workload stands on its own."""
