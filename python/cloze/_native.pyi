"""What the Rust library hands on. Arguments are checked there; arrays own their memory."""

from typing import Any

VERSION: str

def run(arguments: list[str]) -> int: ...

class Collator:
    """Masks rows of ids, of a collator's configuration in JSON."""

    def __init__(self, config: str) -> None: ...
    @property
    def pad(self) -> int: ...
    def collate(
        self,
        rows: list[Any],
        samples: list[int],
        place: tuple[int, int, int],
        multiple_of: int,
        sparse: bool,
    ) -> dict[str, Any]: ...

class Shards:
    """Shards, opened, of a loader's configuration in JSON."""

    def __init__(self, config: str) -> None: ...
    @property
    def rows(self) -> int: ...
    @property
    def fingerprint(self) -> str: ...
    def steps(self, batch_size: int, ranks: tuple[int, int], drop_last: bool) -> int: ...
    def start(
        self,
        batch_size: int,
        ranks: tuple[int, int],
        workers: tuple[int, int],
        drop_last: bool,
        position: tuple[int, int, int],
        sparse: bool,
    ) -> Batches: ...
    def validation(
        self, batch_size: int, masks: tuple[float, int, int], sparse: bool
    ) -> list[dict[str, Any]]: ...

class Batches:
    """Batches of one epoch. With each come the rows of the epoch that are behind it, and the next
    step of this worker."""

    def __iter__(self) -> Batches: ...
    def __next__(self) -> tuple[dict[str, Any], int, int]: ...
