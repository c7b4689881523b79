"""Shared parts of the tests: builders of jobs and stored images, buckets, workspaces, sandboxes, terminals."""
