"""What people's answers mean: which rows are about one image, what they fold to, and what an answer may hold.

Pure functions over ``asyncfilter.records.answers``:

- ``identity``: when two subjects are the same image,
- ``fold``: from the rows about an image to its current answer,
- ``checks``: what an answer from outside may hold.
"""
