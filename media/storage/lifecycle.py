"""The bucket's lifecycle rules, built as data from the retentions and applied as far as the store takes them.

What the rules must never do is delete a clip that is under a hold. A store that enforces locks and legal holds keeps
such a version whatever its rules say; any other would delete it. So expiry is left to the disposal job there, which
asks the records first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from media.storage.errors import StoredObjectMissingError, StoreRefusedError, store_errors
from media.storage.store import EvidenceStore
from media.storage.values import Capabilities, LockMode, Profile

if TYPE_CHECKING:  # the types of boto3 are installed for development only
    from mypy_boto3_s3.type_defs import LifecycleRuleTypeDef

# Rules under other names are somebody else's and stay.
_OURS = "indelible-"
INSTANT_RETRIEVAL_DAYS = 90
DEEP_ARCHIVE_DAYS = 365
UNFINISHED_UPLOAD_DAYS = 7
# A version stops being the current one when it expires, or when a worker that had lost its lease wrote after it.
NONCURRENT_DAYS = 30
# Of the 1,000 that S3 allows, leaving some to others.
_MAX_EXPIRY_RULES = 900


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptFor:
    """How long an organisation keeps clips, and how they are locked."""

    organisation_id: str
    days: int
    lock_mode: LockMode


@dataclass(frozen=True, kw_only=True, slots=True)
class LifecycleDocument:
    """Rules in S3's own form, and what was left out of them, in sentences."""

    rules: "tuple[LifecycleRuleTypeDef, ...]"
    left_out: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that was checked; `ok` is False where it should be otherwise."""

    ok: bool
    message: str


def lifecycle_document(retentions: Sequence[KeptFor], can: Capabilities, profile: Profile) -> LifecycleDocument:
    """The rules for a bucket with these capabilities. A store may still refuse some; see `apply_lifecycle`."""
    rules, left_out = [_unfinished_uploads()], []
    if profile == "aws":
        rules.insert(0, _transitions())
    else:
        left_out.append(f"archive classes: stores of the kind {profile} have none")
    if can.object_lock and can.legal_hold:
        locked = [kept for kept in retentions if kept.lock_mode != "NONE"]
        rules += [_expiry(kept) for kept in locked[:_MAX_EXPIRY_RULES]]
        if len(locked) > _MAX_EXPIRY_RULES:
            left_out.append(f"expiry for {len(locked) - _MAX_EXPIRY_RULES} organisations: S3 allows 1,000 rules")
        left_out += [
            f"expiry of clips of {kept.organisation_id}: they are not locked, so a rule could delete one under a hold"
            for kept in retentions
            if kept.lock_mode == "NONE"
        ]
    elif retentions:
        left_out.append("expiry: this bucket enforces no legal holds, so a rule could delete a clip under one")
    return LifecycleDocument(rules=tuple(rules), left_out=tuple(left_out))


def apply_lifecycle(store: EvidenceStore, document: LifecycleDocument) -> list[Finding]:
    """Make the bucket's rules those of the document, beside rules of other names. Says what the store did not take.

    Raises StoreUnavailableError, StoreRefusedError.
    """
    others = [rule for rule in _current(store) if not rule.get("ID", "").startswith(_OURS)]
    rules, findings = list(document.rules), [Finding(ok=True, message=f"left out: {why}") for why in document.left_out]
    try:
        _put(store, [*others, *rules])
    except StoreRefusedError as error:
        rules = [rule for rule in rules if "Transitions" not in rule]
        _put(store, [*others, *rules])
        findings.append(Finding(ok=True, message=f"left out: archive classes, which the store refuses ({error.code})"))
    findings += [Finding(ok=True, message=f"applied: {rule['ID']}") for rule in rules]
    return findings


def check_storage(store: EvidenceStore, document: LifecycleDocument) -> list[Finding]:
    """Whether the bucket can do what evidence needs, and has the document's rules. Raises StoreError."""
    can = store.capabilities(again=True)
    applied = {rule.get("ID"): rule for rule in _current(store)}
    in_force = {rule["ID"]: rule.items() <= applied.get(rule["ID"], {}).items() for rule in document.rules}
    return [
        Finding(
            ok=can.versioning or can.conditional_writes,
            message="versions are kept"
            if can.versioning
            else "no versions are kept; uploads never overwrite what is there"
            if can.conditional_writes
            else "no versions are kept and overwriting is not refused: two workers could overwrite each other",
        ),
        _can(
            can.object_lock, "locked versions cannot be deleted", "versions cannot be locked; disposal asks the records"
        ),
        _can(can.legal_hold, "legal holds are enforced", "legal holds stand in the records only"),
        _can(can.sha256_checksums, "uploads are checked on arrival", "uploads are checked by reading back only"),
        *(
            Finding(ok=ok, message=f"lifecycle rule {name} is {'in force' if ok else 'missing or another one'}")
            for name, ok in in_force.items()
        ),
        *(Finding(ok=True, message=f"lifecycle without {why}") for why in document.left_out),
    ]


def _can(able: bool, yes: str, no: str) -> Finding:  # noqa: FBT001 - one of the three
    return Finding(ok=True, message=yes if able else no)


def _transitions() -> "LifecycleRuleTypeDef":
    return {
        "ID": f"{_OURS}archive",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "Transitions": [
            {"Days": INSTANT_RETRIEVAL_DAYS, "StorageClass": "GLACIER_IR"},
            {"Days": DEEP_ARCHIVE_DAYS, "StorageClass": "DEEP_ARCHIVE"},
        ],
    }


def _unfinished_uploads() -> "LifecycleRuleTypeDef":
    return {
        "ID": f"{_OURS}unfinished-uploads",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": UNFINISHED_UPLOAD_DAYS},
    }


def _expiry(kept: KeptFor) -> "LifecycleRuleTypeDef":
    return {
        "ID": f"{_OURS}expiry-{kept.organisation_id}",
        "Status": "Enabled",
        "Filter": {"Prefix": f"{kept.organisation_id}/"},
        "Expiration": {"Days": kept.days},
        "NoncurrentVersionExpiration": {"NoncurrentDays": NONCURRENT_DAYS},
    }


def _current(store: EvidenceStore) -> "list[LifecycleRuleTypeDef]":
    try:
        with store_errors("show its lifecycle rules"):
            answer = store.bucket.reader.get_bucket_lifecycle_configuration(Bucket=store.bucket.name)
    except (StoredObjectMissingError, StoreRefusedError) as error:
        if isinstance(error, StoreRefusedError) and error.code != "NoSuchLifecycleConfiguration":
            raise
        return []
    return cast("list[LifecycleRuleTypeDef]", answer["Rules"])  # what is read has the form of what is sent


def _put(store: EvidenceStore, rules: "list[LifecycleRuleTypeDef]") -> None:
    with store_errors("take lifecycle rules"):
        store.bucket.reader.put_bucket_lifecycle_configuration(
            Bucket=store.bucket.name, LifecycleConfiguration={"Rules": rules}
        )
