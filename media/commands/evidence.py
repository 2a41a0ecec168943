"""The operator's commands for the evidence service: serve, worker, settings, storage."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import click

from ledger.cli.main import REFUSED, UNREACHABLE, Failure
from ledger.cli.output import as_json, print_fields, print_rows
from ledger.database.guards import GuardsMissingError
from media.errors import MediaError, Reason
from media.records.records import Records
from media.settings import EvidenceSettings, StorageSettings
from media.storage.lifecycle import Finding, KeptFor, apply_lifecycle, check_storage, lifecycle_document
from media.storage.store import EvidenceStore

_UNREACHABLE = frozenset({Reason.DATABASE_UNAVAILABLE, Reason.STORE_UNAVAILABLE, Reason.LEDGER_UNAVAILABLE})


@click.group()
def evidence() -> None:
    """Run the evidence service, which preserves clips and records sessions."""


@evidence.command("serve")
def serve() -> None:
    """Answer calls, and take requests from NATS, until SIGTERM or Ctrl-C."""
    from media.service import run  # noqa: PLC0415 - a server's libraries take a second to import

    _run(run.serve)


@evidence.command("worker")
def worker() -> None:
    """Make clips, process recordings, keep the store in step, until SIGTERM or Ctrl-C. Any number may run."""
    from media.service import run  # noqa: PLC0415 - as in serve

    _run(run.work)


def _run(part: Callable[[EvidenceSettings], Coroutine[Any, Any, None]]) -> None:
    import uvloop  # noqa: PLC0415 - as in serve

    from ledger.telemetry import configure_logging  # noqa: PLC0415 - as in serve

    checked = EvidenceSettings.from_environment()
    configure_logging(checked.log)
    try:
        uvloop.run(part(checked))
    except GuardsMissingError as error:
        raise Failure(str(error), REFUSED) from error
    except MediaError as error:
        raise failure_of(error) from error


@evidence.group("settings")
def settings() -> None:
    """Look at the settings."""


@settings.command("check")
@as_json
def check_settings(as_json: bool) -> None:  # noqa: FBT001 - click's calling style
    """Check the settings and the files they name, without connecting anywhere. Every problem is reported at once."""
    checked = EvidenceSettings.from_environment()
    print_fields(
        {
            "listen": str(checked.listen),
            "tls": "mutual" if checked.tls and checked.tls.client_ca else "yes" if checked.tls else "no",
            "token_issuer": checked.token.issuer,
            "token_audience": checked.token.audience,
            "bucket": checked.store.bucket,
            "profile": checked.store.profile,
            "ledger": checked.ledger.address,
            "sources": [
                f"{organisation_id}/{source_id}"
                for organisation_id, organisation in checked.sources.organisations.items()
                for source_id in organisation.sources
            ],
            "work_directory": str(checked.directory),
            "jobs": checked.lanes,
            "lease_seconds": checked.lease_seconds,
            "sweep_after_seconds": checked.grace_seconds,
            "nats": checked.nats_url is not None,
            "livekit": checked.recording.livekit.url if checked.recording else None,
            "metrics": str(checked.metrics_listen) if checked.metrics_listen else None,
            "tracing": checked.tracing,
        },
        as_json=as_json,
    )


@evidence.group("storage")
def storage() -> None:
    """Look after the bucket that clips are kept in."""


@storage.command("check")
@as_json
def check_bucket(as_json: bool) -> None:  # noqa: FBT001 - click's calling style
    """Try what the bucket can do, and compare its lifecycle rules with the retentions on record."""
    _show(asyncio.run(_storage(apply=False)), as_json=as_json)


@storage.command("apply")
@as_json
def apply_rules(as_json: bool) -> None:  # noqa: FBT001 - click's calling style
    """Make the bucket's lifecycle rules those of the retentions on record. Rules of other names stay."""
    _show(asyncio.run(_storage(apply=True)), as_json=as_json)


async def _storage(*, apply: bool) -> list[Finding]:
    checked = StorageSettings.from_environment()
    store = EvidenceStore(checked.store)
    try:
        records = await Records.open(evidence_dsn=checked.evidence_dsn, worker_dsn=checked.worker_dsn)
        try:
            retentions = await records.retentions()
        finally:
            await records.close()
        kept = [
            KeptFor(organisation_id=one.organisation_id, days=one.days, lock_mode=one.lock_mode) for one in retentions
        ]
        can = await asyncio.to_thread(store.capabilities)
        document = lifecycle_document(kept, can, checked.store.profile)
        return await asyncio.to_thread(apply_lifecycle if apply else check_storage, store, document)
    except MediaError as error:
        raise failure_of(error) from error


def _show(findings: Sequence[Finding], *, as_json: bool) -> None:
    rows = [{"ok": finding.ok, "finding": finding.message} for finding in findings]
    print_rows(("ok", "finding"), rows, as_json=as_json, empty="There was nothing to check.")
    if not all(finding.ok for finding in findings):
        raise SystemExit(REFUSED)


def failure_of(error: MediaError) -> Failure:
    """What the command line says of a refusal, with its exit code."""
    return Failure(f"{error.message} [{error.reason}]", UNREACHABLE if error.reason in _UNREACHABLE else REFUSED)
