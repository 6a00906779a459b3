"""What a notebook shows of results: a small table."""

from __future__ import annotations

from collections.abc import Mapping


def html_table(rows: Mapping[str, str], caption: str = "") -> str:
    """Return rows of a name and a text as HTML; no text can be markup."""
    from html import escape  # its list of entities takes longer to load than to be needed

    named = f"<caption>{escape(caption)}</caption>" if caption else ""
    body = "".join(
        f'<tr><th scope="row" style="text-align: left">{escape(name)}</th>'
        f'<td style="text-align: left">{escape(text)}</td></tr>'
        for name, text in rows.items()
    )
    return f"<table>{named}<tbody>{body}</tbody></table>"
