"""Where labels come from: folder names with noise, a table of answers per key, recorded answers, or a classifier."""
