"""The output of a run for people and for scripts: live progress, log lines, the summary, and their messages."""
