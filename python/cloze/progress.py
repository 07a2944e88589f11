"""How far a stage is, as bars of tqdm: in terminals and in notebooks."""

from __future__ import annotations

import logging
import sys
import warnings
from importlib import import_module
from typing import Any

_LOGGER = logging.getLogger("cloze")


class Bars:
    """Bars of a stage, one for each thing that it measures. What it notes goes to the logger
    ``cloze``, what the user should look at becomes a warning."""

    def __init__(self, progress: bool | None) -> None:
        self._shown = _is_watched() if progress is None else progress
        self._bars: list[Any] = []

    def begins(self, stage: str, unit: str, total: int | None) -> int:
        """Another bar; its number."""
        bar: Any = None
        if self._shown:
            auto: Any = import_module("tqdm.auto")
            bar = auto.tqdm(total=total, desc=stage, unit=f" {unit}", unit_scale=True, leave=False)
        self._bars.append(bar)
        return len(self._bars) - 1

    def at(self, number: int, done: int) -> None:
        """``done`` in all."""
        bar = self._bars[number]
        if bar is not None and done > bar.n:
            bar.update(done - bar.n)

    def ends(self, number: int) -> None:
        """Takes the bar away."""
        bar, self._bars[number] = self._bars[number], None
        if bar is not None:
            bar.close()

    def note(self, text: str) -> None:
        """One fact of the stage."""
        _LOGGER.info("%s", text)

    def warning(self, text: str) -> None:
        """Something that the user should look at."""
        warnings.warn(text, stacklevel=4)


def _is_watched() -> bool:
    """Whether somebody looks: a terminal, or a notebook."""
    shell = sys.modules.get("IPython")
    if shell is not None and shell.get_ipython() is not None:
        return True
    return sys.stderr is not None and sys.stderr.isatty()
