"""Custom Labels from end to end: imports, trainings and leases as steps over ports, each of which survives a kill.

- ``paced``: the service's calls at a steady rate, repeated where that is safe.
"""
