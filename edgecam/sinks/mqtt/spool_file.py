"""The file that holds events that wait for the broker, so that they outlast the process.

SQLite with a rollback journal and ``synchronous=FULL``: when ``change`` returns, the card has been
made to keep what was written, also through a power cut, and a cut in the middle leaves the state
before. ``journal_mode=TRUNCATE`` syncs the journal's end as well and leaves the directory alone;
a write-ahead log would write every event twice, and a file to begin with. One connection has the
file for itself as long as it is open (``locking_mode=EXCLUSIVE``), and the kernel frees it with
the process, however that ends.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    import sqlite3

VERSION = 1
_SCHEMA = """
CREATE TABLE event (
    id INTEGER PRIMARY KEY,
    payload BLOB NOT NULL,
    made_unix_s REAL NOT NULL,
    made_uptime_s REAL,
    start_id TEXT NOT NULL,
    clock_synced INTEGER
)
"""
_COLUMNS = ", ".join(("payload", "made_unix_s", "made_uptime_s", "start_id", "clock_synced"))


class Row(Struct, frozen=True):
    """One event in the file, and when it was made: by the wall clock as it was known last, and by
    the system's uptime (None: not known).

    ``start_id`` tells of which start of the system, ``clock_synced`` whether a time service kept
    the clock.
    """

    payload: bytes
    made_unix_s: float
    made_uptime_s: float | None
    start_id: str
    clock_synced: bool | None


class SpoolError(Exception):
    """The file cannot be read or written now; the words say why."""


class SpoolDamagedError(SpoolError):
    """What is there is no spool of this release; ``found`` could be read all the same."""

    def __init__(self, words: str, found: Sequence[Row] = ()) -> None:
        super().__init__(words)
        self.found = found


class SpoolFile:
    """Rows by id, in the order in which they were added; used by one thread at a time.

    Every method raises ``SpoolError``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None

    def load(self) -> Mapping[int, Row | None]:
        """What an earlier run left, oldest first (None: not understood); changes nothing."""
        try:
            os.stat(self.path, follow_symlinks=False)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise SpoolError(error.strerror or str(error)) from None
        found: dict[int, Row | None] = {}
        with self._reported(found):
            connection = self._open()
            connection.execute("BEGIN EXCLUSIVE")
            if self._version(connection):
                query = f"SELECT id, {_COLUMNS} FROM event ORDER BY id"
                for number, *values in connection.execute(query):
                    found[number] = _row(values)
            connection.execute("COMMIT")
        return found

    def _version(self, connection: sqlite3.Connection) -> int:
        """0 where nothing was ever written."""
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if (version or tables) and version != VERSION:
            raise SpoolDamagedError(f"version {version} was expected to be {VERSION}")
        return int(version)

    def change(self, add: Iterable[Row], remove: Iterable[int]) -> list[int]:
        """Add and remove rows, all or none; they are on the disk then. Returns the new ids."""
        with self._reported():
            connection = self._connection or self._open(make=True)
            connection.execute("BEGIN EXCLUSIVE")
            if not self._version(connection):
                connection.execute(_SCHEMA)
                connection.execute(f"PRAGMA user_version = {VERSION}")
            connection.executemany("DELETE FROM event WHERE id = ?", ((each,) for each in remove))
            ids = [self._insert(connection, row) for row in add]
            connection.execute("COMMIT")
        return ids

    def _insert(self, connection: sqlite3.Connection, row: Row) -> int:
        query = f"INSERT INTO event ({_COLUMNS}) VALUES (?, ?, ?, ?, ?)"
        return connection.execute(query, msgspec.structs.astuple(row)).lastrowid or 0

    def _open(self, make: bool = False) -> sqlite3.Connection:
        import sqlite3

        try:
            if make:
                self._make_file()
            # Others who may write here could have put a link in its place.
            os.close(os.open(self.path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC))
        except OSError as error:
            raise SpoolError(error.strerror or str(error)) from None
        # Used by the thread that opens it and by the spool's own, one after the other.
        connection = sqlite3.connect(
            self.path, timeout=0.0, isolation_level=None, check_same_thread=False
        )
        self._connection = connection
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = TRUNCATE")
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    def _make_file(self) -> None:
        """The directories' names too are on the disk, as far as the file system can say so."""
        missing = [each for each in self.path.parents if not each.exists()]
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        for folder in (self.path.parent, *(each.parent for each in missing)):
            with contextlib.suppress(OSError):
                fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    os.fsync(fd)
                finally:
                    os.close(fd)

    @contextlib.contextmanager
    def _reported(self, found: Mapping[int, Row | None] | None = None) -> Iterator[None]:
        """Turn what SQLite raises into words, and close the file; the next use opens it again."""
        try:
            import sqlite3
        except ImportError as error:
            raise SpoolError(f"this Python has no SQLite ({error})") from None
        try:
            yield
        except sqlite3.Error as error:
            self.close()
            rows = [row for row in (found or {}).values() if row is not None]
            raise _reported(error, rows) from None
        except BaseException:
            self.close()
            raise

    def set_aside(self) -> Path:
        """Rename what is damaged, in the place of what was damaged before, so that a new one fits.

        Returns its new name.
        """
        self.close()
        aside = self.path.with_name(f"{self.path.name}.damaged")
        journal = self.path.with_name(f"{self.path.name}-journal")
        try:
            self.path.replace(aside)
            # It belongs to what was set aside; SQLite would roll the new file back with it.
            journal.unlink(missing_ok=True)
        except OSError as error:
            raise SpoolError(error.strerror or str(error)) from None
        return aside

    def close(self) -> None:
        """Let go of the file; a transaction that has not ended is undone."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.close()


def _row(values: Sequence[object]) -> Row | None:
    about = dict(zip(Row.__struct_fields__, values, strict=True))
    if about["clock_synced"] is not None:
        about["clock_synced"] = bool(about["clock_synced"])
    try:
        return msgspec.convert(about, Row)
    except msgspec.ValidationError:
        return None


def _reported(error: sqlite3.Error, found: Sequence[Row]) -> SpoolError:
    import sqlite3

    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_MISUSE) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return SpoolError("another process has it")
    # SQLITE_ERROR: a table or a column is not there.
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR):
        return SpoolDamagedError(str(error), found)
    return SpoolError(str(error))
