"""What can be done through the gateway: each action is a Cedar action, a permission of custom roles, and one use case.

An action names the scopes a bearer token must carry for it. They are the ledger's and the evidence service's own, so
the token the gateway makes for such a call carries these and no others, whatever else the caller's token permits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Action(StrEnum):
    """The actions, by the name they have in the policies and in custom roles."""

    SESSION_OPEN = "session.open"
    SESSION_LIST = "session.list"
    SESSION_VIEW = "session.view"
    SESSION_CLOSE = "session.close"
    CONSENT_RECORD = "consent.record"
    EVENT_APPEND = "event.append"
    EVENT_LIST = "event.list"
    EVENT_ERASE = "event.erase"
    ANCHOR_LIST = "anchor.list"
    CHAIN_CHECK = "chain.check"
    BUNDLE_EXPORT = "bundle.export"
    BUNDLE_DISCLOSE = "bundle.disclose"
    LINK_CREATE = "link.create"
    LINK_REVOKE = "link.revoke"
    RECORDING_START = "recording.start"
    RECORDING_STOP = "recording.stop"
    RECORDING_ANNOTATE = "recording.annotate"
    RECORDING_LIST = "recording.list"
    RECORDING_VIEW = "recording.view"
    RECORDING_DOWNLOAD = "recording.download"
    RECORDING_CUSTODY = "recording.custody"
    RECORDING_VERIFY = "recording.verify"
    RECORDING_DISPOSE = "recording.dispose"
    CLIP_REQUEST = "clip.request"
    CLIP_LIST = "clip.list"
    CLIP_VIEW = "clip.view"
    CLIP_CUSTODY = "clip.custody"
    CLIP_VERIFY = "clip.verify"
    CLIP_DOWNLOAD = "clip.download"
    CLIP_EXPORT = "clip.export"
    CLIP_RESTORE = "clip.restore"
    CLIP_DISPOSE = "clip.dispose"
    HOLD_PLACE = "hold.place"
    HOLD_LIFT = "hold.lift"
    RETENTION_VIEW = "retention.view"
    RETENTION_CHANGE = "retention.change"
    WEBHOOK_VIEW = "webhook.view"
    WEBHOOK_MANAGE = "webhook.manage"
    SOURCE_VIEW = "source.view"
    SOURCE_MANAGE = "source.manage"
    CREDENTIAL_VIEW = "credential.view"
    CREDENTIAL_MANAGE = "credential.manage"
    ACCESS_VIEW = "access.view"
    ACCESS_MANAGE = "access.manage"


class Scope(StrEnum):
    """What a token can be limited to: the scopes of the services behind the gateway, and two of its own."""

    LEDGER_READ = "ledger:read"
    LEDGER_APPEND = "ledger:append"
    LEDGER_CLOSE = "ledger:close"
    LEDGER_EXPORT = "ledger:export"
    LEDGER_LINKS = "ledger:links"
    LEDGER_DISCLOSE = "ledger:disclose"
    LEDGER_ERASE = "ledger:erase"
    EVIDENCE_READ = "evidence:read"
    EVIDENCE_EXTRACT = "evidence:extract"
    EVIDENCE_HOLD = "evidence:hold"
    EVIDENCE_RECORD = "evidence:record"
    EVIDENCE_DOWNLOAD = "evidence:download"
    EVIDENCE_EXPORT = "evidence:export"
    EVIDENCE_MANAGE = "evidence:manage"
    GATEWAY_READ = "gateway:read"
    GATEWAY_MANAGE = "gateway:manage"


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """The scopes an action needs, and whether it is recorded also when it is allowed: every action on evidence is."""

    scopes: frozenset[Scope]
    recorded: bool


def _rule(*scopes: Scope, recorded: bool = False) -> Rule:
    return Rule(scopes=frozenset(scopes), recorded=recorded)


ACTIONS: Mapping[Action, Rule] = MappingProxyType(
    {
        Action.SESSION_OPEN: _rule(Scope.LEDGER_CLOSE),
        Action.SESSION_LIST: _rule(Scope.LEDGER_READ),
        Action.SESSION_VIEW: _rule(Scope.LEDGER_READ),
        Action.SESSION_CLOSE: _rule(Scope.LEDGER_CLOSE),
        Action.CONSENT_RECORD: _rule(Scope.EVIDENCE_RECORD),
        Action.EVENT_APPEND: _rule(Scope.LEDGER_APPEND),
        Action.EVENT_LIST: _rule(Scope.LEDGER_READ),
        Action.EVENT_ERASE: _rule(Scope.LEDGER_ERASE, recorded=True),
        Action.ANCHOR_LIST: _rule(Scope.LEDGER_READ),
        Action.CHAIN_CHECK: _rule(Scope.LEDGER_READ),
        Action.BUNDLE_EXPORT: _rule(Scope.LEDGER_EXPORT, recorded=True),
        Action.BUNDLE_DISCLOSE: _rule(Scope.LEDGER_EXPORT, Scope.LEDGER_DISCLOSE, recorded=True),
        Action.LINK_CREATE: _rule(Scope.LEDGER_LINKS, recorded=True),
        Action.LINK_REVOKE: _rule(Scope.LEDGER_LINKS, recorded=True),
        Action.RECORDING_START: _rule(Scope.EVIDENCE_RECORD, recorded=True),
        Action.RECORDING_STOP: _rule(Scope.EVIDENCE_RECORD, recorded=True),
        Action.RECORDING_ANNOTATE: _rule(Scope.EVIDENCE_RECORD, recorded=True),
        Action.RECORDING_LIST: _rule(Scope.EVIDENCE_READ, recorded=True),
        Action.RECORDING_VIEW: _rule(Scope.EVIDENCE_READ, recorded=True),
        Action.RECORDING_DOWNLOAD: _rule(Scope.EVIDENCE_DOWNLOAD, recorded=True),
        Action.RECORDING_CUSTODY: _rule(Scope.EVIDENCE_READ, recorded=True),
        Action.RECORDING_VERIFY: _rule(Scope.EVIDENCE_READ, recorded=True),
        Action.RECORDING_DISPOSE: _rule(Scope.EVIDENCE_MANAGE, recorded=True),
        Action.CLIP_REQUEST: _rule(Scope.EVIDENCE_EXTRACT, recorded=True),
        Action.CLIP_LIST: _rule(Scope.EVIDENCE_READ, recorded=True),
        Action.CLIP_VIEW: _rule(Scope.EVIDENCE_READ, recorded=True),
        Action.CLIP_CUSTODY: _rule(Scope.EVIDENCE_READ, recorded=True),
        Action.CLIP_VERIFY: _rule(Scope.EVIDENCE_READ, recorded=True),
        Action.CLIP_DOWNLOAD: _rule(Scope.EVIDENCE_DOWNLOAD, recorded=True),
        Action.CLIP_EXPORT: _rule(Scope.EVIDENCE_EXPORT, recorded=True),
        Action.CLIP_RESTORE: _rule(Scope.EVIDENCE_DOWNLOAD, recorded=True),
        Action.CLIP_DISPOSE: _rule(Scope.EVIDENCE_MANAGE, recorded=True),
        Action.HOLD_PLACE: _rule(Scope.EVIDENCE_HOLD, recorded=True),
        Action.HOLD_LIFT: _rule(Scope.EVIDENCE_HOLD, recorded=True),
        Action.RETENTION_VIEW: _rule(Scope.EVIDENCE_READ),
        Action.RETENTION_CHANGE: _rule(Scope.EVIDENCE_MANAGE, recorded=True),
        Action.WEBHOOK_VIEW: _rule(Scope.GATEWAY_READ),
        Action.WEBHOOK_MANAGE: _rule(Scope.GATEWAY_MANAGE, recorded=True),
        Action.SOURCE_VIEW: _rule(Scope.GATEWAY_READ),
        Action.SOURCE_MANAGE: _rule(Scope.GATEWAY_MANAGE, recorded=True),
        Action.CREDENTIAL_VIEW: _rule(Scope.GATEWAY_READ),
        Action.CREDENTIAL_MANAGE: _rule(Scope.GATEWAY_MANAGE, recorded=True),
        Action.ACCESS_VIEW: _rule(Scope.GATEWAY_READ),
        Action.ACCESS_MANAGE: _rule(Scope.GATEWAY_MANAGE, recorded=True),
    }
)
