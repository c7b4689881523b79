"""The command line: a file per command group, which parses, shows and chooses the exit code."""
