"""A local folder in place of a bucket: its listing, its files' bytes, and copies, links, moves and deletes in it.

A key is a file's path below the folder, with slashes, in UTF-8; ``files`` maps files to objects.
"""

from asyncfilter.folders.contents import FolderContents
from asyncfilter.folders.end import FolderEnd
from asyncfilter.folders.nearby import FolderPlaces
from asyncfilter.folders.overlap import check_targets
from asyncfilter.folders.places import canonical_places
from asyncfilter.folders.remover import FolderObjects, FolderRemover
from asyncfilter.folders.sink import FolderSink
from asyncfilter.folders.source import FolderSource, check_folder
from asyncfilter.folders.target_checks import check_writable

__all__ = [
    "FolderContents",
    "FolderEnd",
    "FolderObjects",
    "FolderPlaces",
    "FolderRemover",
    "FolderSink",
    "FolderSource",
    "canonical_places",
    "check_folder",
    "check_targets",
    "check_writable",
]
