"""What was measured, kept from the moment it is known: a program that is killed and run again repeats nothing.

A measuring job is data: sources by their hashes, configs, inputs, the machine with its versions, the method.
Its key is the SHA-256 of that data as canonical JSON; under it an SQLite file in the user's cache directory
holds the job and the answer.

SQLite's own rollback journal is what keeps an answer whole when a process is killed or two write at once. Write-ahead
logging would gain nothing at a few answers a second, and switching it on is the one step that does not wait
for another process.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from codegen.closing import Closing
from codegen.outcome import BadInput

ENVIRONMENT = "CODEGEN_CACHE_DIR"
_FILE = "journal.sqlite"
_OURS = 0x63646773  # SQLite's application id: the letters `cdgs`
_VERSION = 1  # of the table below
_WAIT_SECONDS = 60.0  # for another process that is writing
_TABLE = """
    CREATE TABLE answers (
        key TEXT PRIMARY KEY,
        job TEXT NOT NULL,
        answer TEXT NOT NULL,
        date TEXT NOT NULL
    ) WITHOUT ROWID
"""


def default_path() -> Path:
    """`journal.sqlite` in the user's cache directory, or in $CODEGEN_CACHE_DIR."""
    from platformdirs import user_cache_path  # here: nothing else of the command needs it

    chosen = os.environ.get(ENVIRONMENT)
    return (Path(chosen) if chosen else user_cache_path("codegen")) / _FILE


def job_key(job: object) -> str:
    """The same for equal jobs, whatever the order of their fields."""
    text = json.dumps(job, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


class Journal(Closing):
    """Answers by job. Any number of processes may use one file at a time.

    Every method raises BadInput, in one line that names the file, when it can't be read or written, or is
    damaged, or is no journal.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or default_path()
        with self._explained():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                self.path, timeout=_WAIT_SECONDS, isolation_level=None
            )
        try:
            with self._explained():
                self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self) -> None:
        if self._empty():
            self._make()
        owner, version = self._number("application_id"), self._number("user_version")
        if owner != _OURS:
            raise BadInput(f"{self.path}: another program's database; {self._elsewhere()}")
        if version != _VERSION:
            raise BadInput(
                f"{self.path}: of version {version}, and this codegen keeps version {_VERSION}; "
                f"{self._elsewhere()}"
            )

    def _make(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        if self._empty():  # still: another process may have been faster
            self._connection.execute(_TABLE)
            self._connection.execute(f"PRAGMA application_id = {_OURS}")
            self._connection.execute(f"PRAGMA user_version = {_VERSION}")
        self._connection.execute("COMMIT")

    def _empty(self) -> bool:
        tables = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        return tables == 0 and self._number("application_id") == 0

    def get(self, job: object) -> Any:
        """The answer to a job; None where it is not known."""
        with self._explained():
            found = self._connection.execute(
                "SELECT answer FROM answers WHERE key = ?", (job_key(job),)
            ).fetchone()
        return None if found is None else json.loads(found[0])

    def put(self, job: object, answer: object) -> None:
        """Keeps an answer; it is on its way to the disk when this returns. A newer answer replaces an older."""
        row = (job_key(job), json.dumps(job), json.dumps(answer), _now())
        with self._explained():
            self._connection.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)", row)

    def count(self) -> int:
        """How many answers there are."""
        with self._explained():
            found = self._connection.execute("SELECT count(*) FROM answers").fetchone()
        return int(found[0])

    def close(self) -> None:
        self._connection.close()

    def _number(self, pragma: str) -> int:
        return int(self._connection.execute(f"PRAGMA {pragma}").fetchone()[0])

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            why = getattr(error, "strerror", None) or error
            raise BadInput(
                f"{self.path}: the journal can't be used: {why}; {self._elsewhere()}"
            ) from None

    def _elsewhere(self) -> str:
        return f"move the file away, or set {ENVIRONMENT} to another folder"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
