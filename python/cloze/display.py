"""Fragments of HTML that notebooks show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


def number(value: object) -> str:
    """A number as it is read: 12,345 or 0.1234."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; numbers to the right."""

    def cell(value: object) -> str:
        side = "right" if isinstance(value, (int, float)) else "left"
        return f'<td style="text-align:{side}">{escape(number(value))}</td>'

    head = "".join(f'<th style="text-align:left">{escape(name)}</th>' for name in heads)
    body = "".join(f"<tr>{''.join(map(cell, row))}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def card(title: str, note: str, *parts: str) -> str:
    """A title, a line below it, and what follows."""
    return f"<div><b>{escape(title)}</b><br><small>{escape(note)}</small>{''.join(parts)}</div>"


def frame(page: str, height: int) -> str:
    """A whole page inside a notebook, ``height`` pixels high; its styles stay its own, and it runs
    nothing."""
    return (
        f'<iframe sandbox srcdoc="{escape(page)}" '
        f'style="width:100%;height:{height}px;border:0;resize:vertical"></iframe>'
    )
