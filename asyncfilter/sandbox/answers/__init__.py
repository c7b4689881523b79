"""Sources of labels: folder names with noise, a table of answers by key, recorded answers, or a classifier."""
