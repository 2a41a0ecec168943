"""Which steps of recordings' processing have become possible: they are put into the queue (recording_jobs.py).

Whoever calls this, and however often or many at once, a step is queued once.
"""

from ledger.database.connections import Pool
from media.records.transactions import worker_transaction

# Raw objects are looked for as soon as it is known what became of the egress, while the others still run.
_ADVANCE_ACQUIRE = """
INSERT INTO evidence.recording_jobs (recording_id, organisation_id, task, subject, stay_id)
SELECT stay.recording_id, stay.organisation_id, 'acquire', stay.stay_id::text, stay.stay_id
  FROM evidence.recordings AS recording
  JOIN evidence.recording_stays AS stay USING (recording_id)
 WHERE recording.state IN ('STARTING', 'RECORDING', 'STOPPING', 'WAITING') AND stay.outcome IS NOT NULL
   AND NOT EXISTS (SELECT FROM evidence.recording_jobs AS job
                    WHERE job.recording_id = stay.recording_id AND job.task = 'acquire' AND job.stay_id = stay.stay_id)
ON CONFLICT DO NOTHING
"""
# The recording's row is locked: annotations that are handed over at this moment come before or after, never between.
_READY = """
SELECT recording.recording_id, recording.organisation_id
  FROM evidence.recordings AS recording
 WHERE recording.state = 'WAITING'
   AND NOT EXISTS (SELECT FROM evidence.recording_stays AS stay
                    WHERE stay.recording_id = recording.recording_id
                      AND NOT EXISTS (SELECT FROM evidence.recording_jobs AS job
                                       WHERE job.recording_id = stay.recording_id AND job.stay_id = stay.stay_id
                                         AND job.task = 'acquire' AND job.state <> 'OPEN'))
   AND (NOT recording.annotations_expected
        -- Where LiveKit never recorded anything, there is nothing to draw on.
        OR NOT EXISTS (SELECT FROM evidence.recording_stays AS stay
                        WHERE stay.recording_id = recording.recording_id AND stay.egress_id IS NOT NULL)
        OR coalesce(recording.stopped_at, recording.started_at) + %(annotation_wait_us)s <= %(now)s
        OR EXISTS (SELECT FROM evidence.recording_annotations AS given
                    WHERE given.recording_id = recording.recording_id))
 ORDER BY recording.next_attempt_at
 LIMIT 50
   FOR NO KEY UPDATE SKIP LOCKED
"""
_PROCESS = "UPDATE evidence.recordings SET state = 'PROCESSING' WHERE recording_id = %s"
_ADVANCE_FILES = """
INSERT INTO evidence.recording_jobs (recording_id, organisation_id, task, subject, stay_id)
SELECT stay.recording_id, stay.organisation_id, 'participant', stay.stay_id::text, stay.stay_id
  FROM evidence.recording_stays AS stay
 WHERE stay.recording_id = %(recording_id)s AND stay.part = 'participant'
   AND EXISTS (SELECT FROM evidence.recording_raws AS raw WHERE raw.stay_id = stay.stay_id AND raw.counts)
 UNION ALL
SELECT %(recording_id)s, %(organisation_id)s, 'composite', '', NULL
 WHERE EXISTS (SELECT FROM evidence.recording_raws AS raw WHERE raw.recording_id = %(recording_id)s AND raw.counts)
ON CONFLICT DO NOTHING
"""
_ADVANCE_COMPLETE = """
INSERT INTO evidence.recording_jobs (recording_id, organisation_id, task)
SELECT recording.recording_id, recording.organisation_id, 'complete'
  FROM evidence.recordings AS recording
 WHERE recording.state = 'PROCESSING'
   AND NOT EXISTS (SELECT FROM evidence.recording_jobs AS job
                    WHERE job.recording_id = recording.recording_id AND (job.state = 'OPEN' OR job.task = 'complete'))
ON CONFLICT DO NOTHING
"""


async def advance(pool: Pool, *, now: int, annotation_wait_seconds: float) -> int:
    """Queue the steps that have become possible; how many recordings were begun to be processed.

    Raises `MediaError` OVERLOADED, DATABASE_UNAVAILABLE.
    """
    async with worker_transaction(pool) as connection:
        await connection.execute(_ADVANCE_ACQUIRE)
        await connection.execute(_ADVANCE_COMPLETE)
    async with worker_transaction(pool) as connection:
        parameters = {"now": now, "annotation_wait_us": round(annotation_wait_seconds * 1_000_000)}
        ready = await (await connection.execute(_READY, parameters)).fetchall()
        for recording_id, organisation_id in ready:
            await connection.execute(_PROCESS, (recording_id,))
            about = {"recording_id": recording_id, "organisation_id": organisation_id}
            await connection.execute(_ADVANCE_FILES, about)
    return len(ready)
