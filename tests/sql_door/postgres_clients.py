"""A session of psycopg and one of SQLAlchemy; ends with an exception where an answer is not as it should be."""

import datetime
import decimal
import sys
import threading

import psycopg
import sqlalchemy
from psycopg import sql

PORT = sys.argv[1]
DSN = f"host=127.0.0.1 port={PORT} user=x dbname=podledger"


def equal(found, wanted):
    assert found == wanted, f"{found!r} is not {wanted!r}"


VALUES = """
    select true as flag, 1::smallint as small, 2::integer as whole, 3::bigint as large, -12345.678900000::decimal(18, 9) as cost,
        170141183460469231731687303715884105727::hugeint as huge, 0.5::double as share, 'é''|' as text, date '2026-11-16' as day,
        timestamp '2026-11-16 10:00:00.25' as at_utc, timestamptz '2026-11-16 10:00:00+00' as instant, interval '1 month 2 days 3 seconds' as stretch,
        ['a', null, 'b,c'] as names, [1, 2]::bigint[] as numbers, 'x'::blob as bytes, null as nothing, time '01:02:03' as clock,
        0.000000001::decimal(18, 9) as nano, 10000::decimal(18, 0) as round_number, 0::decimal(5, 2) as zero
"""
ROW = (
    True, 1, 2, 3, decimal.Decimal("-12345.678900000"), 170141183460469231731687303715884105727, 0.5, "é'|", datetime.date(2026, 11, 16),
    datetime.datetime(2026, 11, 16, 10, 0, 0, 250000), datetime.datetime(2026, 11, 16, 10, tzinfo=datetime.timezone.utc),
    datetime.timedelta(days=32, seconds=3), ["a", None, "b,c"], [1, 2], b"x", None, datetime.time(1, 2, 3), decimal.Decimal("0.000000001"), decimal.Decimal(10000),
    decimal.Decimal("0.00"),
)

with psycopg.connect(DSN) as connection:
    for binary in (False, True):
        row = connection.cursor(binary=binary).execute(VALUES).fetchone()
        equal(row, ROW)
    # Parameters by every type that psycopg sends, in text and in binary.
    given = [True, 7, 70000, 7_000_000_000, decimal.Decimal("-0.0123"), 0.25, "it's", datetime.date(2026, 1, 2), datetime.datetime(2026, 1, 2, 3, 4, 5), None]
    for mark in ("%s", "%b"):
        values = [value for value in given if not (mark == "%b" and value is None)]
        marks = ", ".join([mark] * len(values))
        row = connection.execute(f"select {marks}", values).fetchone()
        equal([str(value) for value in row], [str(value) for value in values])
    found = connection.execute("select pod_uid from pods where pod_uid = %s and created_ms < %s", ["p", 4_000_000_000_000]).fetchall()
    equal(found, [("p",)])
    equal(connection.execute("select count(*) from runs where created_at > %s", [datetime.datetime(2100, 1, 1)]).fetchone(), (0,))
    equal(connection.execute("select count(*) from pods where pod_uid = any(%s)", [["p", "=cmd()"]]).fetchone(), (2,))
    equal(connection.execute("select count(*) from pods where pod_uid = any(%s)", [[]]).fetchone(), (0,))
    equal(connection.execute("select i from range(10) as t(i) order by 1 limit %s offset %s", [2, 3]).fetchall(), [(3,), (4,)])
    plan = connection.execute("explain select count(*) from pods where pod_uid = %s", ["p"]).fetchall()
    assert any("READ_PARQUET" in line for (line,) in plan), plan
    # Prepared from the sixth time on.
    for number in range(8):
        equal(connection.execute("select %s::bigint + 1", [number]).fetchone(), (number + 1,))
    # A value is never read as SQL.
    hostile = "'; drop table pods; --"
    equal(connection.execute("select %s", [hostile]).fetchone(), (hostile,))

with psycopg.connect(DSN) as connection:
    with connection.cursor(name="some") as cursor:
        cursor.itersize = 1000
        cursor.execute("select i from range(5000) as t(i)")
        # Beside the cursor something else is asked.
        equal(connection.execute("select count(*) from pods").fetchone(), (2,))
        equal(sum(row[0] for row in cursor), 5000 * 4999 // 2)
    for number, row in enumerate(connection.cursor().stream("select i from range(3000) as t(i)")):
        equal(row, (number,))

with psycopg.connect(DSN) as connection:
    # Rows as a file, in text and in binary, and what was asked with parameters.
    with connection.cursor().copy("copy (select i, 'x' || i from range(3) as t(i) order by 1) to stdout") as copy:
        equal(b"".join(bytes(part) for part in copy), b"0\tx0\n1\tx1\n2\tx2\n")
    with connection.cursor().copy(f"copy ({VALUES}) to stdout (format binary)") as copy:
        copy.set_types("bool int2 int4 int8 numeric numeric float8 text date timestamp timestamptz interval text[] int8[] bytea text time numeric numeric numeric".split())
        equal(list(copy.rows()), [ROW])
    with connection.cursor().copy("copy (select i from range(5) as t(i) where i > %s order by 1) to stdout", [2]) as copy:
        equal([row for row in copy.rows()], [("3",), ("4",)])

with psycopg.connect(DSN, autocommit=True) as connection:
    threading.Timer(1, connection.cancel).start()
    try:
        connection.execute("select count(*) from range(10000000) as a(i), range(10000000) as b(j) where a.i + b.j = 7")
        raise AssertionError("it was not cancelled")
    except psycopg.errors.QueryCanceled:
        pass
    equal(connection.execute("select 1").fetchone(), (1,))
    # Rows too.
    threading.Timer(1, connection.cancel).start()
    try:
        for _ in connection.cursor().stream("select i from range(1000000000) as t(i)"):
            pass
        raise AssertionError("it was not cancelled")
    except psycopg.errors.QueryCanceled:
        pass
    equal(connection.execute("select 1").fetchone(), (1,))
    # What the catalogue says of columns is what queries answer.
    tables = [row[0] for row in connection.execute("select relname from pg_class where relnamespace = 'marts'::regnamespace order by 1")]
    assert len(tables) > 30, tables
    for table in tables:
        answered = [(column.name, column.type_code) for column in connection.execute(sql.SQL("select * from {} limit 0").format(sql.Identifier(table))).description]
        described = connection.execute(
            "select attname, atttypid::int from pg_attribute where attrelid = %s::regclass and attnum > 0 order by attnum", [table]
        ).fetchall()
        equal(answered, described)

engine = sqlalchemy.create_engine(f"postgresql+psycopg://x@127.0.0.1:{PORT}/podledger")
inspector = sqlalchemy.inspect(engine)
assert "marts" in inspector.get_schema_names()
assert {"pods", "costs_daily", "findings"} <= set(inspector.get_table_names())
equal(inspector.get_view_names(), [])
columns = {column["name"]: column for column in inspector.get_columns("costs_daily")}
assert isinstance(columns["cost"]["type"], sqlalchemy.NUMERIC) and columns["cost"]["type"].scale == 9, columns["cost"]
assert isinstance(columns["charge_date"]["type"], sqlalchemy.DATE)
assert columns["cost"]["comment"], columns["cost"]
equal(inspector.get_pk_constraint("costs_daily")["constrained_columns"], [])
equal(inspector.get_foreign_keys("costs_daily"), [])
equal(inspector.get_indexes("costs_daily"), [])
assert inspector.has_table("pods") and not inspector.has_table("nothing")
assert inspector.get_table_comment("pods")["text"]
with engine.connect() as connection:
    pods = sqlalchemy.Table("pods", sqlalchemy.MetaData(), autoload_with=engine)
    query = sqlalchemy.select(sqlalchemy.func.count()).select_from(pods).where(pods.c.pod_uid.in_(["p", "q"]))
    equal(connection.execute(query).scalar(), 1)
    rows = connection.execution_options(stream_results=True).execute(sqlalchemy.text("select i from range(2500) as t(i)"))
    equal(sum(row.i for row in rows), 2500 * 2499 // 2)
