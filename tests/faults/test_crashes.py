"""kill -9 of the service and of PostgreSQL under load. `make soak` does the same a hundred times (test_soak.py)."""

from pathlib import Path

import pytest

from sandbox.database import Databases
from sandbox.issuer import Issuer
from sandbox.postgres import Postgres
from tests.faults.crash_load import check_everything, running_load
from tests.service.serving import running_service


@pytest.mark.timeout(900)  # for all that may take long on a busy machine, together
async def test_nothing_acknowledged_is_lost_or_doubled_when_the_service_or_postgresql_is_killed(
    tmp_path: Path, own_postgres: Postgres, issuer: Issuer
) -> None:
    database = Databases(own_postgres).migrated("ledger")
    with running_service(tmp_path, database, issuer) as service, running_load(service) as load:
        for victims in ("postgres", "service", "postgres", "both"):
            load.wait_for_progress(30)
            if victims != "postgres":
                service.kill()
            if victims != "service":
                own_postgres.kill()
                own_postgres.start()
            if victims != "postgres":
                service.start()
        load.wait_for_progress(30)
        load.settle()
        await check_everything(service, load)
