"""Every use case and the actions it asks the policy about: what is not here is reachable through no door."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gateway.actions import access, alerts, clips, credentials, events, holds, proofs, recordings, sessions, webhooks
from gateway.auth.actions import Action


@dataclass(frozen=True, kw_only=True, slots=True)
class UseCase:
    """One function of this package, and the action it begins by asking about."""

    function: Callable[..., Any]
    action: Action

    @property
    def name(self) -> str:
        """What it is called everywhere."""
        return self.function.__name__


def _table(*rows: tuple[Callable[..., Any], Action]) -> tuple[UseCase, ...]:
    return tuple(UseCase(function=function, action=action) for function, action in rows)


USE_CASES: tuple[UseCase, ...] = _table(
    (sessions.open_session, Action.SESSION_OPEN),
    (sessions.list_sessions, Action.SESSION_LIST),
    (sessions.get_session, Action.SESSION_VIEW),
    (sessions.end_session, Action.SESSION_CLOSE),
    (sessions.close_session, Action.SESSION_CLOSE),
    (sessions.record_consent, Action.CONSENT_RECORD),
    (events.append_events, Action.EVENT_APPEND),
    (events.list_events, Action.EVENT_LIST),
    (events.get_event, Action.EVENT_LIST),
    (events.erase_disclosures, Action.EVENT_ERASE),
    (events.check_session, Action.CHAIN_CHECK),
    (proofs.list_anchors, Action.ANCHOR_LIST),
    (proofs.export_bundle, Action.BUNDLE_EXPORT),
    (proofs.export_disclosing_bundle, Action.BUNDLE_DISCLOSE),
    (proofs.create_verify_link, Action.LINK_CREATE),
    (proofs.revoke_verify_link, Action.LINK_REVOKE),
    (recordings.start_recording, Action.RECORDING_START),
    (recordings.stop_recording, Action.RECORDING_STOP),
    (recordings.get_recording, Action.RECORDING_VIEW),
    (recordings.list_recordings, Action.RECORDING_LIST),
    (recordings.annotate_recording, Action.RECORDING_ANNOTATE),
    (recordings.create_recording_link, Action.RECORDING_DOWNLOAD),
    (recordings.get_recording_custody, Action.RECORDING_CUSTODY),
    (recordings.verify_recording, Action.RECORDING_VERIFY),
    (recordings.dispose_recording, Action.RECORDING_DISPOSE),
    (clips.request_clip, Action.CLIP_REQUEST),
    (clips.list_clips, Action.CLIP_LIST),
    (clips.get_clip, Action.CLIP_VIEW),
    (clips.get_custody, Action.CLIP_CUSTODY),
    (clips.create_clip_link, Action.CLIP_DOWNLOAD),
    (clips.verify_clip, Action.CLIP_VERIFY),
    (clips.restore_clip, Action.CLIP_RESTORE),
    (clips.export_clip, Action.CLIP_EXPORT),
    (clips.dispose_clip, Action.CLIP_DISPOSE),
    (holds.place_hold, Action.HOLD_PLACE),
    (holds.lift_hold, Action.HOLD_LIFT),
    (holds.list_clip_holds, Action.CLIP_VIEW),
    (holds.place_recording_hold, Action.HOLD_PLACE),
    (holds.lift_recording_hold, Action.HOLD_LIFT),
    (holds.list_recording_holds, Action.RECORDING_VIEW),
    (holds.list_holds, Action.CLIP_LIST),
    (holds.get_retention, Action.RETENTION_VIEW),
    (holds.set_retention, Action.RETENTION_CHANGE),
    (credentials.create_credential, Action.CREDENTIAL_MANAGE),
    (credentials.list_credentials, Action.CREDENTIAL_VIEW),
    (credentials.get_credential, Action.CREDENTIAL_VIEW),
    (credentials.rotate_credential, Action.CREDENTIAL_MANAGE),
    (credentials.revoke_credential, Action.CREDENTIAL_MANAGE),
    (access.put_assignment, Action.ACCESS_MANAGE),
    (access.list_assignments, Action.ACCESS_VIEW),
    (access.remove_assignment, Action.ACCESS_MANAGE),
    (access.put_role, Action.ACCESS_MANAGE),
    (access.list_roles, Action.ACCESS_VIEW),
    (access.remove_role, Action.ACCESS_MANAGE),
    (access.put_site, Action.ACCESS_MANAGE),
    (access.list_sites, Action.ACCESS_VIEW),
    (access.remove_site, Action.ACCESS_MANAGE),
    (access.put_camera, Action.ACCESS_MANAGE),
    (access.list_cameras, Action.ACCESS_VIEW),
    (access.remove_camera, Action.ACCESS_MANAGE),
    (webhooks.create_endpoint, Action.WEBHOOK_MANAGE),
    (webhooks.list_endpoints, Action.WEBHOOK_VIEW),
    (webhooks.get_endpoint, Action.WEBHOOK_VIEW),
    (webhooks.change_endpoint, Action.WEBHOOK_MANAGE),
    (webhooks.remove_endpoint, Action.WEBHOOK_MANAGE),
    (webhooks.replace_endpoint_secret, Action.WEBHOOK_MANAGE),
    (webhooks.list_deliveries, Action.WEBHOOK_VIEW),
    (webhooks.get_delivery, Action.WEBHOOK_VIEW),
    (webhooks.replay_delivery, Action.WEBHOOK_MANAGE),
    (webhooks.replay_dead, Action.WEBHOOK_MANAGE),
    (alerts.create_source, Action.SOURCE_MANAGE),
    (alerts.list_sources, Action.SOURCE_VIEW),
    (alerts.get_source, Action.SOURCE_VIEW),
    (alerts.change_source, Action.SOURCE_MANAGE),
    (alerts.remove_source, Action.SOURCE_MANAGE),
    (alerts.replace_source_secret, Action.SOURCE_MANAGE),
)
