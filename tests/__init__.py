"""The tests; ``tests.kit`` has what they share."""
