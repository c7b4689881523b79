"""What tests share: builders of jobs and stored images, buckets, workspaces, sandboxes, terminals."""
