#!/usr/bin/env -S python3 -u
"""A web application (WSGI) that counts its visits in SQLite. `app.py migrate` makes the table, which must exist."""

import os
import sqlite3
from collections.abc import Callable

DATABASE = os.environ.get("DATABASE", "/data/app.db")


def application(_environ: dict[str, str], start_response: Callable[..., object]) -> list[bytes]:
    """Count a visit and answer with the number, according to PEP 3333."""
    with sqlite3.connect(DATABASE) as database:
        (visits,) = database.execute("UPDATE visits SET number = number + 1 RETURNING number").fetchone()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"visit {visits}\n".encode()]


def migrate() -> None:
    """Make the table if it does not exist."""
    with sqlite3.connect(DATABASE) as database:
        database.execute("CREATE TABLE IF NOT EXISTS visits (number INTEGER)")
        database.execute("INSERT INTO visits SELECT 0 WHERE NOT EXISTS (SELECT * FROM visits)")
    print("the table is there")


if __name__ == "__main__":
    migrate()
