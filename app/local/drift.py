"""`python -m app.local.drift`: do the migrations make the tables that the code declares? Needs no running server."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from app.local.postgres import Postgres
from app.migrate import find_drift, upgrade


def main() -> int:
    """Migrate an empty server and compare; 1 and the differences if there are any."""
    with tempfile.TemporaryDirectory(prefix="warmstart-drift-") as folder:
        server = Postgres(Path(folder) / "postgres", Path(folder) / "postgres.log")
        server.start()
        try:
            upgrade(server.url)
            drift = find_drift(server.url)
        finally:
            server.stop()
    for difference in drift:
        sys.stderr.write(f"migrations differ from the tables: {difference}\n")
    sys.stdout.write("migrations: no drift\n" if not drift else "")
    return 1 if drift else 0


if __name__ == "__main__":
    sys.exit(main())
