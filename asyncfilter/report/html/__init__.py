"""Self-contained HTML pages: no script, no other file, no server; every text from outside is escaped."""
