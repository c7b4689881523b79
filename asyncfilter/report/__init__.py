"""What people and scripts see of a run: live progress, log lines, the summary, and the words they are made of."""
