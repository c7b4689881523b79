"""People's answers: one SQLite file beside the checkpoint, to which any number of processes may add rows.

- ``schema``: its tables. ``file``: creating, opening and checking it.
- ``writer``: adding rows. ``reader``: reading it, also as the engine's port. ``queries``: what both ask of it.
- ``merging``: other answers files into this one.

Rows are only ever added. Nothing here knows of jobs or checkpoints; ``asyncfilter.wiring.answers`` does.
"""

from asyncfilter.answers.merging import Merged, MergedFile, merge_files
from asyncfilter.answers.reader import AnswersReader, SqliteAnswers, open_port, open_reader
from asyncfilter.answers.writer import AnswersFile, Stored, Writing, new_uid, open_answers

__all__ = [
    "AnswersFile",
    "AnswersReader",
    "Merged",
    "MergedFile",
    "SqliteAnswers",
    "Stored",
    "Writing",
    "merge_files",
    "new_uid",
    "open_answers",
    "open_port",
    "open_reader",
]
