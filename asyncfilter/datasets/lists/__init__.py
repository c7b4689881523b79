"""Lists of keys as the source of a run: what they hold is read here, from files that are open.

- ``entries``: one row of a list, and the object that it names.
- ``tables``: the rows of CSV, JSON Lines, text, Parquet and ORC.
- ``key_list``: the entries of a list that a user has made, or of a manifest of ``source-ref`` lines.
- ``inventory``: the manifest of an S3 Inventory, and the objects of its data files.
- ``arrow``: pyarrow, which reads Parquet and ORC (an extra).
- ``source``: a ``Source`` over the files of a list.
"""

from asyncfilter.datasets.lists.entries import Entry, ListedPlace
from asyncfilter.datasets.lists.inventory import InventoryFile, InventoryManifest, inventory_objects, read_manifest
from asyncfilter.datasets.lists.key_list import list_entries
from asyncfilter.datasets.lists.source import ListFile, ListSource

__all__ = [
    "Entry",
    "InventoryFile",
    "InventoryManifest",
    "ListFile",
    "ListSource",
    "ListedPlace",
    "inventory_objects",
    "list_entries",
    "read_manifest",
]
