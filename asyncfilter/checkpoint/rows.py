"""Rows of the table ``image``: small numbers for verdicts, interned labels, an ETag of hex digits as bytes."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

import msgspec

from asyncfilter.checkpoint.answers import has_answers, read_answers
from asyncfilter.checkpoint.codec import AskedLabels, decode, encode
from asyncfilter.checkpoint.errors import CorruptRowError
from asyncfilter.checkpoint.interning import Interned, LabelDefinition
from asyncfilter.checkpoint.schema import ACTIONS, REVIEWED, VERDICTS
from asyncfilter.checkpoint.sql import VALUES_PER_STATEMENT, Row, chunks, insert, marks
from asyncfilter.model import Decision, Detection, Failure, Instance, Label, LabelFilter
from asyncfilter.records.answers import CurrentAnswer
from asyncfilter.records.images import DoneEffect, StoredImage

WITH_LABELS = "detection"
"""For ``select``: every row with its labels."""

WITHOUT_LABELS = "NULL"
"""For ``select``: no row with its labels."""

CACHED_WITH_LABELS = "CASE WHEN seq IS NULL THEN detection END"
"""For ``select``: only cached rows with their labels."""

_VERDICT_OF = {number: verdict for verdict, number in VERDICTS.items()}
ACTION_OF = {number: kind for kind, number in ACTIONS.items()}
"""The kind of action behind ``effect.kind``."""

_FIRST_AND_LAST = (
    "SELECT detection FROM image WHERE detection IS NOT NULL ORDER BY id LIMIT 500",
    "SELECT detection FROM image WHERE detection IS NOT NULL ORDER BY id DESC LIMIT 500",
)
"""The answers of which the boxes are looked at."""

_NAMES = msgspec.json.Decoder(tuple[str, ...])


def select(detection: str) -> str:
    """The beginning of a query whose rows ``RowCodec.images`` reads; conditions on ``image`` may follow."""
    columns = f"id, seq, key, etag, size_bytes, decision, label, failure, message, same_as, {detection}"
    return f"SELECT {columns} FROM image "  # noqa: S608  one of the three constants above


def pack_etag(etag: str) -> bytes | str:
    """``etag`` as bytes when it is lower-case hex digits, else unchanged."""
    try:
        packed = bytes.fromhex(etag)
    except ValueError:
        return etag
    return packed if packed.hex() == etag else etag


def unpack_etag(stored: bytes | str) -> str:
    """The ETag whose stored form is ``stored``; the inverse of ``pack_etag``."""
    return stored.hex() if isinstance(stored, bytes) else stored


def are_texts(*values: object) -> bool:
    """Whether these values, which SQLite gives as whatever type somebody has written, are texts."""
    return all(isinstance(value, str) for value in values)


class RowCodec:
    """Converts images to rows and back, with the interned tables of one file.

    A failed read of the tables raises ``sqlite3.Error``.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.labels: Interned[LabelDefinition] = Interned(self._load_labels)
        self.words: Interned[str] = Interned(self._load_words)
        self._asked: AskedLabels | None = None
        self._decisions: dict[tuple[int, int | None], Decision] = {}  # few, and immutable
        self._has_answers: bool | None = None

    @property
    def has_answers(self) -> bool:
        """Whether the file has answers of people; read once."""
        if self._has_answers is None:
            self._has_answers = has_answers(self._db)
        return self._has_answers

    @has_answers.setter
    def has_answers(self, found: bool) -> None:
        self._has_answers = found

    def new_row(self, image: StoredImage) -> Row:
        """The values of a new row, in the order of the table's columns."""
        etag, detection = pack_etag(image.etag), image.detection
        stored = None if detection is None else encode(detection, self.labels, self.words)
        return (image.id, image.seq, image.key, etag, image.size_bytes, *self.outcome(image), image.same_as, stored)

    def outcome(self, image: StoredImage) -> Row:
        """The columns decision, label, failure and message."""
        verdict = label = code = message = None
        if image.decision is not None:
            rule = image.decision.rule
            verdict = VERDICTS[image.decision.verdict] + 4 * (0 if rule is None else rule + 1)
            if image.decision.ruled is not None:
                verdict += REVIEWED * (VERDICTS[image.decision.ruled] + 1)
            if image.decision.label is not None:
                label = self.words.number(image.decision.label)
        if image.failure is not None:
            code, message = image.failure.code, image.failure.message
        return verdict, label, code, message

    def images(self, rows: Sequence[Row], is_asked: LabelFilter | None = None) -> list[StoredImage]:
        """The images in the result of a query that begins with ``select``, with their effects.

        With ``is_asked`` only the labels for which it is true, as in ``Positions.positioned``; this takes a third of
        the time.

        Raises:
            CorruptRowError: An image cannot have been stored like this.
        """
        ids = [row[0] for row in rows]
        effects, said = self._effects(ids), read_answers(self._db, ids) if self.has_answers else {}
        read = self._reader(is_asked)
        return [self._image(row, effects.get(row[0], ()), said.get(row[0]), read) for row in rows]

    def by_ids(self, ids: Sequence[int]) -> list[StoredImage]:
        """The images with these ids, as far as they exist, with their labels, by id.

        Raises:
            CorruptRowError: One of the rows cannot have been stored like this.
        """
        found: list[StoredImage] = []
        for some in chunks(sorted(set(ids)), VALUES_PER_STATEMENT):
            query = f"{select(WITH_LABELS)} WHERE id IN ({marks(len(some))}) ORDER BY id"
            found += self.images(self._db.execute(query, some).fetchall())
        return found

    def every_label(self, *, boxes: bool = False) -> list[Label]:
        """Every label that images had, each definition once; with ``boxes`` as in ``LabelStore.labels``."""
        found = [Label(name, 0.0, (), *lists) for name, *lists in self.labels.all()]
        boxed = self._instances() if boxes else {}
        return [msgspec.structs.replace(label, instances=boxed.get(label.name, ())) for label in found]

    def _instances(self) -> dict[str, tuple[Instance, ...]]:
        """One instance of each label that has some in the first or the last answers."""
        found: dict[str, tuple[Instance, ...]] = {}
        for query in _FIRST_AND_LAST:
            for (stored,) in self._db.execute(query):
                for label in decode(stored, self.labels, self.words).labels:
                    if label.instances and label.name not in found:
                        found[label.name] = label.instances[:1]
        return found

    def _reader(self, is_asked: LabelFilter | None) -> Callable[[bytes], Detection]:
        """The decoder of stored detections; the results of the last ``is_asked`` are cached."""
        if is_asked is None:
            return lambda stored: decode(stored, self.labels, self.words)
        if self._asked is None or self._asked.is_asked != is_asked:
            self._asked = AskedLabels(self.labels, is_asked)
        asked = self._asked
        asked.catch_up()
        return asked.decode

    def _image(
        self,
        row: Row,
        effects: tuple[DoneEffect, ...],
        answer: CurrentAnswer | None,
        read: Callable[[bytes], Detection],
    ) -> StoredImage:
        id_, seq, key, etag, size_bytes, verdict, label, code, message, same_as, stored = row
        if not are_texts(key, unpack_etag(etag), code or "", message or "") or not isinstance(size_bytes, int):
            raise CorruptRowError(f"row {id_} is not a valid image: a value of another type")
        try:
            return StoredImage(
                id=id_,
                seq=seq,
                key=key,
                etag=unpack_etag(etag),
                size_bytes=size_bytes,
                decision=None if verdict is None else self._decision(verdict, label),
                failure=None if code is None else Failure(code, message),
                detection=None if stored is None else read(stored),
                same_as=same_as,
                effects=effects,
                answer=answer,
            )
        except (LookupError, TypeError, AttributeError) as exc:
            raise CorruptRowError(f"row {id_} is not a valid image: {exc}") from exc

    def _effects(self, ids: Sequence[int]) -> dict[int, tuple[DoneEffect, ...]]:
        found: dict[int, tuple[DoneEffect, ...]] = {}
        for some in chunks(ids, VALUES_PER_STATEMENT):
            among = f"image IN ({marks(len(some))})"
            query = f"SELECT image, kind, target FROM effect WHERE {among} ORDER BY id"  # noqa: S608  only marks
            for id_, kind, target in self._db.execute(query, some).fetchall():
                if kind not in ACTION_OF or not isinstance(target, str):
                    raise CorruptRowError(f"an action of row {id_} is not valid")
                found[id_] = (*found.get(id_, ()), DoneEffect(ACTION_OF[kind], target))
        return found

    def save_interned(self) -> None:
        """Store the labels and words that are new; to be called inside the transaction that uses them."""
        labels = [(number, name, *map(_json, lists)) for number, (name, *lists) in self.labels.unsaved]
        insert(self._db, "INSERT INTO label", labels)
        insert(self._db, "INSERT INTO word", self.words.unsaved)

    def interned_saved(self) -> None:
        """Note that the transaction is committed and its new values are stored."""
        self.labels.saved()
        self.words.saved()

    def _decision(self, stored: int, label: int | None) -> Decision:
        known = self._decisions.get((stored, label))
        if known is None:
            reviewed, by_rules = divmod(stored, REVIEWED)
            rule, verdict = divmod(by_rules, 4)
            name = None if label is None else self.words.values(label + 1)[label]
            ruled = _VERDICT_OF[reviewed - 1] if reviewed else None
            known = Decision(_VERDICT_OF[verdict], rule - 1 if rule else None, name, ruled)
            self._decisions[stored, label] = known
        return known

    def _load_labels(self, first: int) -> Sequence[LabelDefinition]:
        query = "SELECT name, parents, aliases, categories FROM label WHERE id >= ? ORDER BY id"
        decode_names = _NAMES.decode
        return [
            (name, decode_names(parents), decode_names(aliases), decode_names(categories))
            for name, parents, aliases, categories in self._db.execute(query, (first,))
        ]

    def _load_words(self, first: int) -> Sequence[str]:
        return [text for (text,) in self._db.execute("SELECT text FROM word WHERE id >= ? ORDER BY id", (first,))]


def _json(names: Sequence[str]) -> str:
    return msgspec.json.encode(names).decode()
