"""Whether a time-stamp is qualified in the sense of eIDAS, by the trusted lists at hand (ETSI TS 119 612).

QUALIFIED only when the signer, or an authority in its path, is a listed time-stamping service whose status was
"granted" at the very time of the token. What the token says about itself is a claim and is not consulted.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from verifier.rfc3161 import codes
from verifier.rfc3161.certificate import Certificate
from verifier.rfc3161.response import Report
from verifier.rfc3161.results import QualifiedStatus
from verifier.rfc3161.trusted_list import Service, UnusableListError, read_trusted_list


def qualified_status(
    path: Sequence[Certificate], time: datetime, trusted_lists: Iterable[bytes], report: Report
) -> QualifiedStatus:
    """QUALIFIED or NOT-QUALIFIED by the lists given; UNKNOWN when no usable list was given."""
    services: list[Service] = []
    usable = False
    for data in trusted_lists:
        try:
            services += read_trusted_list(data)
            usable = True
        except UnusableListError as error:
            report(codes.TRUSTED_LIST_UNUSABLE, f"A trusted list cannot be used: {error}.")
    if not usable:
        return "UNKNOWN"
    listed = (service for service in services if any(service.is_about(certificate) for certificate in path))
    return "QUALIFIED" if any(service.granted_at(time) for service in listed) else "NOT-QUALIFIED"
