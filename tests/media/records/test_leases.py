"""What a worker knows by itself about its lease, when the records cannot be asked."""

import asyncio
from functools import partial

import pytest

from media.clips.lease import Lease, held
from media.records.records import Records
from media.records.values import Job, LeaseLostError
from tests.media.records.recording import asked

# A commit on a busy machine may take a second: every sign of life must arrive in spite of that.
LEASE_SECONDS = 4.0


async def taken(records: Records) -> Job:
    await records.request(asked())
    job = await records.claim(worker="one", lease_seconds=LEASE_SECONDS)
    assert job is not None
    return job


async def test_a_worker_that_cannot_ask_stops_when_its_lease_must_have_ended(records: Records) -> None:
    job = await taken(records)
    lease = Lease(partial(records.heartbeat, job), job)
    lease.tick()
    await asyncio.sleep(LEASE_SECONDS)
    with pytest.raises(LeaseLostError):
        lease.tick()
    # Before its successor can begin: whatever is taken over is taken after the first worker knew.
    successor = await records.claim(worker="two", lease_seconds=LEASE_SECONDS)
    assert successor is not None
    assert successor.attempt == 2


async def test_each_sign_of_life_that_arrived_lets_the_work_go_on(records: Records) -> None:
    job = await taken(records)
    lease = Lease(partial(records.heartbeat, job), job)
    for _ in range(4):
        await asyncio.sleep(LEASE_SECONDS / 3)
        await lease.enter("EXTRACTING")
    lease.tick()


async def test_work_goes_on_beyond_one_lease_while_its_heart_beats(records: Records) -> None:
    job = await taken(records)
    async with held(partial(records.heartbeat, job), job) as lease:
        for _ in range(10):
            await asyncio.sleep(LEASE_SECONDS / 5)
            lease.tick()


async def test_a_worker_cut_off_from_the_records_drops_its_job_in_time(records: Records) -> None:
    async def work(job: Job) -> None:
        async with held(partial(records.heartbeat, job), job) as lease:
            await records.close()
            while True:
                await asyncio.sleep(LEASE_SECONDS / 10)
                lease.tick()

    job = await taken(records)
    with pytest.raises(LeaseLostError):
        await asyncio.wait_for(work(job), LEASE_SECONDS + 30)
