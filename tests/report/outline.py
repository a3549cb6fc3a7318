"""The page as its reader has it: text of a section, cells of a table."""

from __future__ import annotations

import re


def text(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)).strip()


def section(html: str, name: str) -> str:
    """From its heading to the next one."""
    start = html.index(f'<h2 id="{name}">')
    return html[start : html.index("<h2 ", start + 1)]


def rows(table: str) -> dict[str, list[str]]:
    """First cell -> the others, as text, of the table that `table` starts with."""
    body = table[table.index("<tbody>") : table.index("</tbody>")]
    found = [[text(cell) for cell in re.split(r"</t[hd]>", row)[:-1]] for row in body.split("<tr>")[1:]]
    return {row[0]: row[1:] for row in found}
