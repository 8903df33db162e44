"""Runs the exported project with dbt on DuckDB and on Spark and compares every mart with that of a ledger.

usage: parity.py LEDGER EXPORTED_PROJECT [--zone ZONE] [--no-spark] [--column-tests]

LEDGER is a ledger.duckdb that `podledger build` left; EXPORTED_PROJECT is what `podledger export dbt` wrote over the same
lake. Rows are compared as bags, columns by name, order and type. Ends with 1 and a sample where something differs.
"""

import argparse
import json
import multiprocessing
import os
import sys
import time
from pathlib import Path

import duckdb
from dbt.cli.main import dbtRunner


def run_dbt(target: str, variables: str, column_tests: bool) -> None:
    """Without `column_tests`, only models and the checks of whole relations run: rows that are equal have equal columns."""
    started = time.monotonic()
    less = [] if column_tests else ["--exclude", "test_type:generic"]
    result = dbtRunner().invoke(
        ["--quiet", "build", "--full-refresh", "--profiles-dir", ".", "--target", target, "--vars", variables, *less]
    )
    if not result.success:
        failed = [f"{r.node.name}: {r.message}" for r in result.result or [] if r.status in ("error", "fail")]
        sys.exit(f"dbt on {target} failed: {result.exception or ''}\n" + "\n".join(failed))
    print(f"dbt on {target}: {len(result.result)} models and tests in {time.monotonic() - started:.1f} s")


def write_spark_marts(marts: list[str], folder: Path) -> None:
    from pyspark.sql import SparkSession

    spark = SparkSession.builder.enableHiveSupport().getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    for mart in marts:
        spark.table(f"marts.{mart}").coalesce(1).write.mode("overwrite").parquet(str(folder / mart))


def columns(connection: duckdb.DuckDBPyConnection, relation: str) -> list[tuple[str, str]]:
    return [(row[0], row[1]) for row in connection.execute(f"describe select * from {relation}").fetchall()]


def compare(connection: duckdb.DuckDBPyConnection, mart: str, expected: str, found: str, engine: str) -> list[str]:
    """What differs between two relations; nothing if they are equal."""
    wanted, seen = columns(connection, expected), columns(connection, found)
    if wanted != seen:
        differing = [f"{a} is {b} on {engine}" for a, b in zip(wanted, seen) if a != b]
        return [f"{mart}: columns differ: {differing or (len(wanted), len(seen))}"]
    problems = []
    for word, one, other in [("missing", expected, found), ("extra", found, expected)]:
        rows = connection.execute(f"select * from {one} except all select * from {other}").fetchall()
        if rows:
            problems.append(f"{mart}: {len(rows)} rows {word} on {engine}, first {rows[0]}")
    return problems


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ledger", type=Path)
    parser.add_argument("project", type=Path)
    parser.add_argument("--zone", default="UTC", help="session time zone of both engines")
    parser.add_argument("--no-spark", action="store_true")
    parser.add_argument("--column-tests", action="store_true", help="run the tests of single columns on Spark too")
    arguments = parser.parse_args()
    ledger = arguments.ledger.resolve()
    os.chdir(arguments.project)
    os.environ["TZ"] = arguments.zone
    time.tzset()
    profiles = Path("profiles.yml")
    profiles.write_text(profiles.read_text().replace("session.timeZone: UTC", f"session.timeZone: {arguments.zone}"))
    variables = json.dumps(json.loads(Path("vars.json").read_text()))

    connection = duckdb.connect()
    connection.execute(f"attach '{ledger}' as ledger (read_only)")
    marts = [
        row[0]
        for row in connection.execute(
            "select table_name from information_schema.tables where table_catalog = 'ledger' and table_schema = 'marts' "
            "order by table_name"
        ).fetchall()
    ]
    # In a process of its own, which lets go of the file.
    child = multiprocessing.get_context("spawn").Process(target=run_dbt, args=("duckdb", variables, True))
    child.start()
    child.join()
    if child.exitcode != 0:
        sys.exit(1)
    connection.execute("attach 'podledger.duckdb' as dbt (read_only)")
    problems, rows = [], 0
    for mart in marts:
        rows += connection.execute(f"select count(*) from ledger.marts.{mart}").fetchall()[0][0]
        problems += compare(connection, mart, f"ledger.marts.{mart}", f"dbt.marts.{mart}", "dbt-duckdb")
    if not arguments.no_spark:
        run_dbt("spark", variables, arguments.column_tests)
        out = Path("spark-marts").resolve()
        write_spark_marts(marts, out)
        for mart in marts:
            found = f"read_parquet('{out / mart}/*.parquet')"
            problems += compare(connection, mart, f"ledger.marts.{mart}", found, "dbt-spark")
    for problem in problems:
        print(problem)
    if problems:
        sys.exit(1)
    print(f"{len(marts)} marts, {rows} rows: equal on all engines")


if __name__ == "__main__":
    main()
