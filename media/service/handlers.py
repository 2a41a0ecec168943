"""The table of the service's methods: each RPC of the contract and what carries it out."""

import grpc
from indelible.evidence.v1 import evidence_pb2

from ledger.serving.calls import CallGuard, Interface
from ledger.serving.methods import method_table
from media.service.clips import Clips
from media.service.errors import CODES, as_refusal
from media.service.keeping import Keeping
from media.service.permissions import METHOD_SCOPES, PUBLIC_METHODS
from media.service.reading import MAX_VERIFY_SECONDS, Reading
from media.service.recordings import Recordings

SERVICE = "indelible.evidence.v1.EvidenceService"

INTERFACE = Interface(
    service=SERVICE,
    scopes=METHOD_SCOPES,
    public=PUBLIC_METHODS,
    # LiveKit reports a lot, and most of it is about nothing here.
    quiet=frozenset({"ReceiveLiveKitWebhook"}),
    codes=CODES,
    as_refusal=as_refusal,
)


def make_handler(
    *, clips: Clips, keeping: Keeping, reading: Reading, recordings: Recordings, guard: CallGuard
) -> grpc.GenericRpcHandler:
    """The whole service. Raises KeyError when a method of the contract has no handler or no scope."""
    handlers = {
        "RequestExtraction": guard.unary("RequestExtraction", clips.request_extraction),
        "GetClip": guard.unary("GetClip", clips.get_clip),
        "ListClips": guard.unary("ListClips", clips.list_clips),
        "PlaceLegalHold": guard.unary("PlaceLegalHold", keeping.place_legal_hold),
        "LiftLegalHold": guard.unary("LiftLegalHold", keeping.lift_legal_hold),
        "GetCustody": guard.unary("GetCustody", reading.get_custody),
        "CreateDownloadLink": guard.unary("CreateDownloadLink", reading.create_download_link),
        "RestoreClip": guard.unary("RestoreClip", reading.restore_clip),
        "VerifyStoredClip": guard.unary("VerifyStoredClip", reading.verify_stored_clip, MAX_VERIFY_SECONDS),
        "ExportClip": guard.stream("ExportClip", reading.export_clip),
        "DisposeClip": guard.unary("DisposeClip", keeping.dispose_clip),
        "GetRetention": guard.unary("GetRetention", keeping.get_retention),
        "SetRetention": guard.unary("SetRetention", keeping.set_retention),
        "RecordConsent": guard.unary("RecordConsent", recordings.record_consent),
        "StartRecording": guard.unary("StartRecording", recordings.start_recording),
        "StopRecording": guard.unary("StopRecording", recordings.stop_recording),
        "GetRecording": guard.unary("GetRecording", recordings.get_recording),
        "ListRecordings": guard.unary("ListRecordings", recordings.list_recordings),
        "ProcessRecording": guard.unary("ProcessRecording", recordings.process_recording),
        "CreateRecordingLink": guard.unary("CreateRecordingLink", recordings.create_recording_link),
        "VerifyStoredRecording": guard.unary(
            "VerifyStoredRecording", reading.verify_stored_recording, MAX_VERIFY_SECONDS
        ),
        "DisposeRecording": guard.unary("DisposeRecording", keeping.dispose_recording),
        "ExportRecording": guard.stream("ExportRecording", reading.export_recording),
        "ReceiveLiveKitWebhook": guard.public_unary("ReceiveLiveKitWebhook", recordings.receive_livekit_webhook),
    }
    return method_table(evidence_pb2.DESCRIPTOR.services_by_name["EvidenceService"], handlers)
