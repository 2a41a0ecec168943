"""Which scope each method needs. A method that is not in the table cannot be called: denied by default."""

from collections.abc import Mapping
from types import MappingProxyType

READ = "evidence:read"
EXTRACT = "evidence:extract"
HOLD = "evidence:hold"
RECORD = "evidence:record"
DOWNLOAD = "evidence:download"
EXPORT = "evidence:export"
# Ends the existence of evidence, or decides when it ends.
MANAGE = "evidence:manage"

METHOD_SCOPES: Mapping[str, str] = MappingProxyType(
    {
        "RequestExtraction": EXTRACT,
        "GetClip": READ,
        "ListClips": READ,
        "PlaceLegalHold": HOLD,
        "LiftLegalHold": HOLD,
        "GetCustody": READ,
        "CreateDownloadLink": DOWNLOAD,
        "RestoreClip": DOWNLOAD,
        "VerifyStoredClip": READ,
        "ExportClip": EXPORT,
        "DisposeClip": MANAGE,
        "GetRetention": READ,
        "SetRetention": MANAGE,
        "RecordConsent": RECORD,
        "StartRecording": RECORD,
        "StopRecording": RECORD,
        "GetRecording": READ,
        "ListRecordings": READ,
        "ProcessRecording": RECORD,
        "CreateRecordingLink": DOWNLOAD,
        "VerifyStoredRecording": READ,
        "DisposeRecording": MANAGE,
        "ExportRecording": EXPORT,
    }
)
# Methods whose request carries its own permission: LiveKit's signature.
PUBLIC_METHODS = frozenset({"ReceiveLiveKitWebhook"})
