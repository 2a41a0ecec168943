"""What every service of the product says when it does not carry out a request."""

from collections.abc import Mapping


class RefusedError(Exception):
    """A refusal: `reason` for programs, `message` for people, `metadata` (`field` and the like) for both."""

    def __init__(self, reason: str, message: str, metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.metadata = dict(metadata or {})
