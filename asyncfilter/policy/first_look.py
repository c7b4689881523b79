"""What a first look at a place shows: how many images of which formats and sizes, in which folders.

The look reads a bounded part of the listing. Formats are told by the extensions of names, as ``source.include`` does;
nothing is opened. All figures are of the objects that were seen.
"""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

import msgspec

from asyncfilter.job.spec import DetectorKind
from asyncfilter.model import ListedObject, NothingFound, S3Location, Skip, StoreKind, folder_of
from asyncfilter.policy.detectors import PROFILES
from asyncfilter.policy.extensions import CONVERTED, READ_AS_THEY_ARE
from asyncfilter.policy.globs import KeyFilter
from asyncfilter.policy.object_filter import skip_reason
from asyncfilter.policy.pricing import PriceList
from asyncfilter.policy.sampling import Ranking, Sampler

NEED_PLUGIN = frozenset({"heic", "heif"})
"""Of the extensions that ``convert`` sends as JPEG, the ones that need the package pillow-heif."""

NO_EXTENSION = ""
"""The extension of a name without one."""

SAMPLED_IMAGES = 20
"""Images that are drawn at random from those that were seen."""

MOST_FOLDERS = 1000
"""Folders whose images are counted; those behind them are counted together."""

_LONGEST_EXTENSION = 5
_EVERY_IMAGE = KeyFilter([f"*.{extension}" for extension in READ_AS_THEY_ARE | CONVERTED])
_EVERY_NAME = KeyFilter(["*"])


class FirstLook(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a first look.

    Attributes:
        listed: Objects that were seen.
        is_whole: They are all that there are.
        formats: Images by extension, most first.
        others: Other objects by extension, most first; ``""`` are those without one.
        skipped: Images that cannot be examined, by reason.
        size_bytes: Of all images; ``median_bytes`` and ``largest_bytes`` of one.
        folders: Images by folder directly below the prefix, most first; ``""`` are those in no folder.
        has_siblings: The prefix does not end with a folder, and covers several that begin with it.
        sample: Images drawn at random.
    """

    listed: int
    is_whole: bool
    formats: dict[str, int]
    others: dict[str, int]
    skipped: dict[str, int]
    size_bytes: int
    median_bytes: int
    largest_bytes: int
    folders: dict[str, int]
    has_siblings: bool
    sample: tuple[ListedObject, ...]

    @property
    def images(self) -> int:
        """Images that can be examined, some of them after a conversion."""
        return sum(self.formats.values())

    @property
    def has_names_without_extension(self) -> bool:
        """True when no name has the extension of an image, and some have none: these may be images."""
        return not self.images and self.others.get(NO_EXTENSION, 0) > 0

    @property
    def to_convert(self) -> list[str]:
        """Extensions of images that the service cannot read as they are, most first."""
        return [extension for extension in self.formats if extension in CONVERTED]


class FirstLookCounter:
    """Counts the objects of a listing.

    Args:
        prefix: The prefix that was listed, of which folders are below.
        max_bytes: The largest image that can be examined.
    """

    def __init__(self, prefix: str, max_bytes: int) -> None:
        self.listed = 0
        self._prefix_length = len(prefix)
        self._is_open = bool(prefix) and not prefix.endswith("/")
        self._begins: set[bool] = set()
        self._max_bytes = max_bytes
        self._formats: dict[str, int] = {}
        self._others: dict[str, int] = {}
        self._skipped: dict[str, int] = {}
        self._folders: dict[str, int] = {}
        self._sizes_bytes: list[int] = []
        self._sampler = Sampler(SAMPLED_IMAGES, Ranking(0))

    def add(self, objects: Iterable[ListedObject]) -> None:
        """Count one page."""
        for listed in objects:
            self.listed += 1
            if self._is_open and "/" in (rest := listed.key[self._prefix_length :]):
                self._begins.add(rest.startswith("/"))
            self._count(listed)

    def look(self, *, is_whole: bool) -> FirstLook:
        """The counts so far."""
        sizes_bytes = self._sizes_bytes
        return FirstLook(
            listed=self.listed,
            is_whole=is_whole,
            formats=_most_first(self._formats),
            others=_most_first(self._others),
            skipped=_most_first(self._skipped),
            size_bytes=sum(sizes_bytes),
            median_bytes=round(median(sizes_bytes)) if sizes_bytes else 0,
            largest_bytes=max(sizes_bytes, default=0),
            folders=_most_first(self._folders),
            has_siblings=len(self._begins) > 1,
            sample=tuple(self._sampler.drawn()),
        )

    def folder_of(self, key: str) -> str:
        """The folder directly below the prefix, with its slash; empty for a key in none."""
        folder, slash, _ = key[self._prefix_length :].partition("/")
        return folder + slash if slash else ""

    def _count(self, listed: ListedObject) -> None:
        extension = extension_of(listed.key)
        is_folder = listed.key.endswith("/")  # one that cannot be listed fails in a run, and may hold any image
        skip = Skip.FOLDER if is_folder else skip_reason(listed, _EVERY_IMAGE, self._max_bytes)
        if skip is Skip.NOT_INCLUDED:
            if skip_reason(listed, _EVERY_NAME, self._max_bytes) is None:
                _add(self._others, extension)
        elif skip is not None:
            _add(self._skipped, skip.value)
        else:
            _add(self._formats, extension)
            folder = self.folder_of(listed.key)
            _add(self._folders, folder if folder in self._folders or len(self._folders) < MOST_FOLDERS else "")
            self._sizes_bytes.append(listed.size_bytes)
            self._sampler.offer(listed)


def extension_of(key: str) -> str:
    """The extension of a name in lower case, without its dot; empty for none, and for what is no extension."""
    name = key.rpartition("/")[2]
    stem, dot, extension = name.rpartition(".")
    is_one = bool(dot and stem) and len(extension) <= _LONGEST_EXTENSION and extension.isalnum() and extension.isascii()
    return extension.lower() if is_one else NO_EXTENSION


def _add(counts: dict[str, int], name: str) -> None:
    counts[name] = counts.get(name, 0) + 1


def _most_first(counts: dict[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


class PlaceFound(msgspec.Struct, frozen=True, kw_only=True):
    """A place that was looked at, and what examining its images there takes.

    Attributes:
        place: The bucket and the prefix, or the folder.
        look: What is there.
        home: Region of the bucket; for a folder that of the AWS settings, None without one.
        region: Region in which images are examined.
        is_region_chosen: No setting names that region.
        prices: Of that region.
        nothing: Why nothing is there; None where something is.
    """

    place: S3Location
    look: FirstLook
    home: str | None
    region: str
    is_region_chosen: bool = False
    prices: PriceList
    nothing: NothingFound | None = None

    @property
    def is_folder(self) -> bool:
        """True for a folder of this machine."""
        return self.place.store is StoreKind.FOLDER

    @property
    def address(self) -> str:
        """The place for people: ``s3://bucket/prefix``, or the path of the folder."""
        return str(folder_of(self.place.bucket)) if self.is_folder else self.place.uri

    @property
    def is_moved(self) -> bool:
        """True when images cannot be examined where they are: their bytes must be sent to another region."""
        return not self.is_folder and self.home != self.region

    def cost_micros(self, images: int) -> int:
        """The price of the first ``images`` of a month."""
        return self.prices.total_micros(1, images)

    def sample_of(self, number: int) -> list[ListedObject]:
        """Up to ``number`` images drawn at random, of those that the service reads as they are."""
        limits = PROFILES[DetectorKind.REKOGNITION].image_limits
        most_bytes = limits.max_inline_bytes if self.is_folder else limits.max_object_bytes
        readable = [
            listed
            for listed in self.look.sample
            if extension_of(listed.key) in READ_AS_THEY_ARE and listed.size_bytes <= most_bytes
        ]
        return readable[:number] if not self.is_moved else []
