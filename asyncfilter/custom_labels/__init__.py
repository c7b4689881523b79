"""Custom Labels from end to end: what is known of a model.

- ``evaluation``: how good a version is, by the files that its training wrote.
"""
