"""What can go wrong with the store. No message holds an address with a signature, or a key of ours to the store."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
)
from urllib3.exceptions import HTTPError

from media.errors import MediaError, Reason
from media.storage.values import Attempt

_MISSING = frozenset({"404", "NoSuchKey", "NoSuchVersion", "NotFound"})
_BUSY = frozenset(
    {"SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout", "RequestTimeTooSkewed", "OperationAborted"}
)
_EXISTS = frozenset({"412", "PreconditionFailed", "ConditionalRequestConflict"})
_SERVER_FAULT = 500
_NOT_IMPLEMENTED = 501
_TOO_MANY_REQUESTS = 429


class StoreError(MediaError):
    """The store did not do what it was asked to."""


class StoreUnavailableError(StoreError):
    """It could not be reached, or had a fault of its own. What was asked may have been done; try again later."""


class StoreRefusedError(StoreError):
    """It understood and said no: a setting, a permission, or something it cannot do. `code` is its own word for it."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(Reason.STORE_UNAVAILABLE, message, {"code": code})
        self.code = code


class StoredObjectMissingError(StoreError):
    """There is no such object, or no such version of it."""


class StoredMismatchError(StoreError):
    """What the store gave back is not what it was given. `attempts` says what was found each time."""

    def __init__(self, message: str, attempts: Sequence[Attempt]) -> None:
        super().__init__(Reason.STORED_MISMATCH, message, {"key": attempts[-1].key} if attempts else None)
        self.attempts = tuple(attempts)


class ObjectLockedError(StoreError):
    """A lock or a legal hold in the store keeps the object."""


class ObjectArchivedError(StoreError):
    """The object must be restored from the archive before it can be read."""


class ObjectExistsError(StoreError):
    """There is an object under the key already, and it was not to be overwritten."""


@contextmanager
def store_errors(action: str, key: str = "") -> Iterator[None]:
    """Turns what boto3 raises into a StoreError; `action` completes "the store did not ..."."""
    about = {"key": key} if key else {}
    of = f" {key}" if key else ""
    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in _MISSING:
            raise StoredObjectMissingError(
                Reason.STORED_MISMATCH, f"the store has no{of or 'thing there'}", about
            ) from error
        if code in _EXISTS:
            raise ObjectExistsError(Reason.STORE_UNAVAILABLE, f"the store has{of} already", about) from error
        if code == "InvalidObjectState":
            raise ObjectArchivedError(Reason.CLIP_ARCHIVED, f"{key} is archived; restore it first", about) from error
        is_fault = status >= _SERVER_FAULT and status != _NOT_IMPLEMENTED
        if code in _BUSY or is_fault or status == _TOO_MANY_REQUESTS:
            raise StoreUnavailableError(
                Reason.STORE_UNAVAILABLE, f"the store did not {action}{of}: {code or status}", about
            ) from error
        raise StoreRefusedError(f"the store refused to {action}{of}: {code or status}", code) from error
    except (NoCredentialsError, PartialCredentialsError, ParamValidationError) as error:
        raise StoreRefusedError(f"the store cannot be asked to {action}: {type(error).__name__}", "Settings") from error
    except (BotoCoreError, HTTPError, OSError) as error:
        raise StoreUnavailableError(
            Reason.STORE_UNAVAILABLE, f"the store did not {action}{of}: {type(error).__name__}", about
        ) from error
