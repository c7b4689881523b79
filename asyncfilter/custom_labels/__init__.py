"""Custom Labels from end to end: imports, trainings and leases as steps over ports, each of which survives a kill.

- ``ledger``, ``ledger_schema``: the file of all that was started, and its tables.
- ``paced``: the service's calls at a steady rate, repeated where that is safe.
- ``lease``: what a lease is, and what follows from one; ``lease_table``: leases in the ledger; ``processes``: their
  owners; ``reached_model``: a model at its service; ``starting``: starts one; ``reaper``: stops what has expired or
  lost its owner; ``watching``: waits for that.
- ``evaluation``: how good a version is, by the files that its training wrote.
"""
