"""Trusted lists of EU member states (ETSI TS 119 612): the parts about time-stamping services, with their history.

A list is XML from outside: document types and entities are refused, and size and depth are bounded. The signature of a
list is not checked here, so a list must come from the verifier's user, who got it authentically, never from a bundle.
"""

import base64
import binascii
from dataclasses import dataclass
from datetime import UTC, datetime
from xml.parsers import expat

from verifier.rfc3161 import der
from verifier.rfc3161.certificate import Certificate, read_certificate

# The largest national lists are about 5 MiB.
MAX_LIST_SIZE = 16 * 1024 * 1024
MAX_XML_DEPTH = 64

_NS = "http://uri.etsi.org/02231/v2#"
_QUALIFIED_TIME_STAMPING = "http://uri.etsi.org/TrstSvc/Svctype/TSA/QTST"
_GRANTED = "http://uri.etsi.org/TrstSvc/TrustedList/Svcstatus/granted"
# Before that day there was no qualified time-stamp in the sense of Regulation (EU) 910/2014.
EIDAS_START = datetime(2016, 6, 30, 22, tzinfo=UTC)


class UnusableListError(ValueError):
    """What was given is not a trusted list that can be read; the text says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServicePeriod:
    """One status of a service and when it began."""

    kind: str
    status: str
    since: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """A listed service: its certificates and subject key identifiers, and its periods, newest first."""

    certificates: frozenset[bytes]
    keys: frozenset[bytes]
    key_ids: frozenset[bytes]
    periods: tuple[ServicePeriod, ...]

    def is_about(self, certificate: Certificate) -> bool:
        """Whether the service is identified by `certificate`, its key, or (lacking both) its key identifier."""
        if self.certificates:
            return certificate.encoded in self.certificates or certificate.public_key.encoded in self.keys
        return certificate.key_id is not None and certificate.key_id in self.key_ids

    def granted_at(self, time: datetime) -> bool:
        """Whether the service was a granted qualified time-stamping service at `time`."""
        if time < EIDAS_START:
            return False
        current = max((p for p in self.periods if p.since <= time), key=lambda p: p.since, default=None)
        return current is not None and (current.kind, current.status) == (_QUALIFIED_TIME_STAMPING, _GRANTED)


def read_trusted_list(data: bytes) -> tuple[Service, ...]:
    """The services of a list; raises UnusableListError."""
    if len(data) > MAX_LIST_SIZE:
        raise UnusableListError(f"it is larger than {MAX_LIST_SIZE} bytes")
    reader = _ListReader()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse_document_type
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError) as error:
        raise UnusableListError(f"it is not a readable trusted list: {error}") from error
    if not reader.is_list:
        raise UnusableListError("it is not a trusted list")
    return tuple(reader.services)


def _refuse_document_type(*_: object) -> None:
    raise UnusableListError("it has a document type declaration")


def _path(text: str) -> tuple[str, ...]:
    return tuple(f"{_NS} {name}" for name in text.split("/"))


_ROOT = _path("TrustServiceStatusList")
_SERVICE = _ROOT + _path("TrustServiceProviderList/TrustServiceProvider/TSPServices/TSPService")
_CURRENT = _SERVICE + _path("ServiceInformation")
_FORMER = _SERVICE + _path("ServiceHistory/ServiceHistoryInstance")
_CERTIFICATE = _CURRENT + _path("ServiceDigitalIdentity/DigitalId/X509Certificate")
_KEY_ID = _CURRENT + _path("ServiceDigitalIdentity/DigitalId/X509SKI")
_KIND, _STATUS, _SINCE = (_path(name)[0] for name in ("ServiceTypeIdentifier", "ServiceStatus", "StatusStartingTime"))


class _ListReader:
    """Collects services from a stream of XML events, by exact path; everything else in a list is passed over."""

    def __init__(self) -> None:
        self.services: list[Service] = []
        self.is_list = False
        self._stack: tuple[str, ...] = ()
        self._text: list[str] = []
        self._period: dict[str, str] = {}
        self._periods: list[ServicePeriod] = []
        self._certificates: list[Certificate] = []
        self._key_ids: list[bytes] = []

    def start(self, name: str, _attributes: dict[str, str]) -> None:
        self._stack = (*self._stack, name)
        self._text = []
        if len(self._stack) > MAX_XML_DEPTH:
            raise UnusableListError(f"its elements are nested more than {MAX_XML_DEPTH} deep")
        if self._stack == _ROOT:
            self.is_list = True
        elif self._stack == _SERVICE:
            self._periods, self._certificates, self._key_ids = [], [], []
        elif self._stack in {_CURRENT, _FORMER}:
            self._period = {}

    def text(self, text: str) -> None:
        self._text.append(text)

    def end(self, name: str) -> None:
        value = "".join(self._text).strip()
        parent = self._stack[:-1]
        if parent in {_CURRENT, _FORMER} and name in {_KIND, _STATUS, _SINCE}:
            self._period[name] = value
        elif self._stack == _CERTIFICATE:
            self._add_certificate(value)
        elif self._stack == _KEY_ID:
            self._key_ids.append(_decode(value))
        elif self._stack in {_CURRENT, _FORMER}:
            self._periods.append(_read_period(self._period))
        elif self._stack == _SERVICE:
            self.services.append(
                Service(
                    certificates=frozenset(c.encoded for c in self._certificates),
                    keys=frozenset(c.public_key.encoded for c in self._certificates),
                    key_ids=frozenset(self._key_ids),
                    periods=tuple(self._periods),
                )
            )
        self._stack = parent
        self._text = []

    def _add_certificate(self, value: str) -> None:
        try:
            self._certificates.append(read_certificate(_decode(value)))
        except der.DerError:
            # One odd certificate among hundreds must not make the whole list useless; it then identifies nothing.
            return


def _decode(value: str) -> bytes:
    try:
        return base64.b64decode("".join(value.split()), validate=True)
    except binascii.Error as error:
        raise UnusableListError("an identity in it is not valid base64") from error


def _read_period(values: dict[str, str]) -> ServicePeriod:
    try:
        since = datetime.fromisoformat(values[_SINCE])
        kind, status = values[_KIND], values[_STATUS]
    except (KeyError, ValueError) as error:
        raise UnusableListError("a service in it lacks its type, status or starting time") from error
    if since.tzinfo is None:
        raise UnusableListError("a starting time in it has no time zone")
    return ServicePeriod(kind=kind, status=status, since=since.astimezone(UTC))
