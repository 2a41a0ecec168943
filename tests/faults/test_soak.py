"""A hundred kills and more (`make soak`). INDELIBLE_SOAK_KILLS says how many, INDELIBLE_SOAK_SEED repeats a run."""

import asyncio
import os
import random
import time
from pathlib import Path

import pytest

from sandbox.database import Databases
from sandbox.issuer import Issuer
from sandbox.postgres import Postgres
from tests.faults.crash_load import check_everything, running_load
from tests.service.serving import running_service

KILLS = int(os.environ.get("INDELIBLE_SOAK_KILLS", "100"))
SEED = int(os.environ.get("INDELIBLE_SOAK_SEED", str(time.time_ns())))
# The chains are re-hashed this often as well as at the end.
KILLS_BETWEEN_CHECKS = 25


@pytest.mark.soak
@pytest.mark.timeout(30 * KILLS + 300)
async def test_nothing_acknowledged_is_lost_or_doubled_however_often_something_is_killed(
    tmp_path: Path, own_postgres: Postgres, issuer: Issuer
) -> None:
    chance = random.Random(SEED)
    with running_service(tmp_path, Databases(own_postgres).migrated("ledger"), issuer) as service:
        done = 0
        while done < KILLS:
            with running_load(service, name=f"round-{done}") as load:
                for _ in range(min(KILLS_BETWEEN_CHECKS, KILLS - done)):
                    load.wait_for_progress(chance.randint(1, 60))
                    await asyncio.sleep(chance.random() * 0.05)
                    victims = chance.choice(["service", "postgres", "both"])
                    if victims != "postgres":
                        service.kill()
                    if victims != "service":
                        own_postgres.kill()
                        own_postgres.start()
                    if victims != "postgres":
                        service.start()
                    done += 1
                load.wait_for_progress(20)
                load.settle()
            await check_everything(service, load)
