"""Asks everything that must be refused, in both protocols; ends with 1 and says what was not."""

import json
import sys

import psycopg

with open(sys.argv[2]) as file:
    ways = json.load(file)

connection = psycopg.connect(sys.argv[1], autocommit=True)
reached = []


def asked(text, is_prepared):
    """The SQLSTATE, or none where there were rows."""
    try:
        with connection.cursor() as cursor:
            if is_prepared:
                cursor.execute(text.encode(), prepare=True)
                return None
            result = connection.pgconn.exec_(text.encode())
            return (result.error_field(psycopg.pq.DiagnosticField.SQLSTATE) or b"").decode() or None
    except psycopg.Error as error:
        return error.sqlstate


for text in ways["refused"]:
    if "\0" in text:
        continue
    for is_prepared in (False, True):
        code = asked(text, is_prepared)
        if code is None:
            reached.append((text, is_prepared))
        if connection.closed:
            connection = psycopg.connect(sys.argv[1], autocommit=True)

for text in ways["answered"]:
    for row in connection.execute(text.encode()).fetchall():
        if any(part in str(row) for part in (".parquet", ".duckdb", "/tmp", "memory_limit")):
            reached.append((text, row))

assert connection.execute("select count(*) from pods").fetchone() == (2,), "it goes on answering"
# A session that sets what it likes has changed nothing.
for text in ("set search_path = 'main'", "set timezone = 'Asia/Tokyo'", "reset all"):
    connection.execute(text)
assert connection.execute("show search_path").fetchone() == ("marts",)

for case in reached:
    print(case)
sys.exit(1 if reached else 0)
