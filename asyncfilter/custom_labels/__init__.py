"""Custom Labels beyond a run: the ledger of what was started, leases of models, training and evaluation."""
