"""Tables of pages held against their CSV: as many rows, the same names, and amounts and times as pages round them."""

import csv
import io
import re
from datetime import datetime
from decimal import Decimal

from looking import check, wrong
from playwright.sync_api import Page

# Every download below a table, with the table's headings (by what they mean) and rows; tables that have no download are none of a question.
TABLES = """() => Array.from(document.querySelectorAll("p.below a[download]"), (link) => {
  let at = link.parentElement.previousElementSibling;
  while (at && at.matches("p.note")) at = at.previousElementSibling;
  const table = at && at.matches(".scroll") ? at.querySelector("table.data") : null;
  return table && {
    csv: link.getAttribute("href"),
    below: link.parentElement.textContent,
    columns: Array.from(table.tHead.rows[0].cells, (cell) => cell.title),
    rows: Array.from(table.tBodies[0].rows, (row) => Array.from(row.cells, (cell) => cell.textContent.trim())),
  };
}).filter((table) => table && table.columns.some((title) => title))"""

NANO = 1_000_000_000


def dollars(nano: int) -> str:
    cents = (abs(nano) + 5_000_000) // 10_000_000
    return f"{'-' if nano < 0 and cents else ''}${cents // 100:,}.{cents % 100:02}"


def small_dollars(nano: int) -> str:
    if abs(nano) >= NANO or nano == 0:
        return dollars(nano)
    sign, shown = "-" if nano < 0 else "", (abs(nano) + 50_000) // 100_000
    return f"{sign}${shown // 10_000}.{shown % 10_000:04}" if shown else f"<{sign}$0.0001"


def change(nano: int) -> str:
    shown = dollars(nano)
    return "±$0.00" if shown == "$0.00" else shown if nano < 0 else f"+{shown}"


def duration(ms: int) -> str:
    seconds = ms // 1000
    units = [(86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")]
    for size, unit, smaller, smaller_unit in units:
        if seconds >= size:
            rest = seconds % size // smaller
            return f"{seconds // size} {unit}" + (f" {rest} {smaller_unit}" if rest else "")
    return "–" if ms < 0 else f"{seconds} s" if seconds > 9 else f"{seconds}.{ms % 1000 // 100} s"


def size(number: int) -> str:
    for unit, shift in (("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if number >= 1 << shift:
            return f"{(number * 10 >> shift) // 10}.{(number * 10 >> shift) % 10} {unit}"
    return f"{number} B"


def thousandths(number: int) -> str:
    whole, rest = divmod(abs(number), 1000)
    return f"{whole:,}" if rest == 0 else f"{whole}.{rest:03}".rstrip("0")


def tenths(number: int) -> str:
    return f"{'-' if number < 0 else ''}{abs(number) // 10:,}.{abs(number) % 10}"


def cut(text: str, longest: int) -> str:
    tail = longest // 2
    return text if len(text) <= longest else f"{text[: longest - tail - 1]}…{text[len(text) - tail :]}"


def quantity(name: str, number: int) -> str:
    """A whole number in the unit that its name ends with."""
    if name.endswith("_mib_ms"):
        return f"{tenths(number * 10 // (1024 * 3_600_000))} GiB-h"
    if name.endswith("_millicore_ms"):
        return f"{tenths(number * 10 // (1000 * 3_600_000))} core-h"
    if name.endswith("_ms"):
        return duration(number)
    if name.endswith("_permille"):
        return f"{tenths(number)}%"
    if name.endswith("_bytes"):
        return size(number)
    if name.endswith("_millicores"):
        return f"{thousandths(number)} core{'' if number == 1000 else 's'}"
    if name.endswith("_milligpus"):
        return thousandths(number)
    return f"{number:,}"


def told(name: str, schema: dict, text: str) -> set[str]:
    """The ways in which pages say a cell of a CSV: which of them is the column's own is not told here, but what it says is."""
    if text == "":
        return {"–", "unknown"}
    if "pattern" in schema:
        nano = int(Decimal(text) * NANO)
        return {change(nano)} if name == "change" else {dollars(nano), small_dollars(nano), text}
    if schema.get("format") == "date-time":
        return {datetime.fromisoformat(text).strftime("%a %Y-%m-%d %H:%M:%S")}
    if "integer" in schema["type"]:
        return {quantity(name, int(text))}
    # A spreadsheet would compute what begins like this.
    plain = text[1:] if re.match(r"'\s*[=+\-@]", text) else text
    return {cut(plain, longest).strip() for longest in (80, 400)}


def are_their_csv(page: Page, base: str, document: dict, at: str) -> int:
    """Holds the tables of the page that is open against their CSV; returns how many there are."""
    tables = page.evaluate(TABLES)
    for href in {table["csv"]: None for table in tables}:
        # A page may show parts of one answer in tables of their own.
        parts = [table for table in tables if table["csv"] == href]
        answer = page.request.get(base + href)
        if not answer.ok:
            wrong.append(f"{at}: {href}: {answer.status}")
            continue
        rows = list(csv.DictReader(io.StringIO(answer.text(), newline="")))
        wholes = (re.search(r"[\d,]+–[\d,]+ of ([\d,]+)", part["below"]) for part in parts)
        count = sum(int(whole[1].replace(",", "")) if whole else len(part["rows"]) for whole, part in zip(wholes, parts))
        check(count == len(rows), f"{at}: {count} rows, but {href} has {len(rows)}")
        path = "/api/v1/" + href.split("?")[0].removeprefix("/tables/").removesuffix(".csv")
        answered = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        columns = answered["properties"]["rows"]["items"]["properties"]
        names = {schema["description"]: name for name, schema in columns.items()}
        shown = [(part["columns"], cells) for part in parts for cells in part["rows"]]
        for (titles, cells), row in zip(shown, rows):
            for title, cell in zip(titles, cells):
                name = names.get(title)
                expected = told(name, columns[name], row[name]) if name else {f"a column of {path}"}
                check(cell in expected, f"{at}: {name or title}: {cell!r} is none of {expected} ({href})")
    return len(tables)
