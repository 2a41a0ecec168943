"""The checks a token goes through, and the finding code of every rule in them.

A rule's code is stable: programs and court files quote it. `docs/spec/rfc3161.md` lists all of them.
"""

from dataclasses import dataclass
from enum import StrEnum

from verifier.findings import Finding, Severity


class Check(StrEnum):
    """The checks, in the order in which they are made."""

    FORM = "form"
    CONTENT = "content"
    STATEMENT = "statement"
    IMPRINT = "imprint"
    REQUEST = "request"
    SIGNER = "signer"
    SIGNATURE = "signature"
    CERTIFICATE = "certificate"
    PATH = "path"
    REVOCATION = "revocation"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: its code, the check it belongs to, and what breaking it means.

    `trust_only` marks rules whose breach proves nothing wrong: what is missing is a reason to trust the token.
    """

    code: str
    check: Check
    severity: Severity = Severity.ERROR
    trust_only: bool = False

    def says(self, message: str) -> Finding:
        """The finding that this rule makes."""
        return Finding(code=self.code, severity=self.severity, message=message)


class Broken(Exception):  # noqa: N818 - reads as what it is: "raise Broken(codes.MALFORMED, ...)"
    """A rule is broken in a way that leaves nothing to go on with; carries the rule and the text for people."""

    def __init__(self, rule: Rule, message: str) -> None:
        super().__init__(message)
        self.rule = rule
        self.message = message


_WARNING, _INFO = Severity.WARNING, Severity.INFO

# The response and its form
TOO_LARGE = Rule("rfc3161-too-large", Check.FORM)
MALFORMED = Rule("rfc3161-malformed", Check.FORM)
NOT_GRANTED = Rule("rfc3161-not-granted", Check.FORM)
GRANTED_WITH_MODS = Rule("rfc3161-granted-with-modifications", Check.FORM)
GRANTED_WITH_MODS_ALLOWED = Rule("rfc3161-granted-with-modifications-allowed", Check.FORM, _WARNING)
TOKEN_MISSING = Rule("rfc3161-token-missing", Check.FORM)
TOKEN_UNEXPECTED = Rule("rfc3161-token-unexpected", Check.FORM)

# The signed message around the statement (RFC 5652)
NOT_SIGNED_DATA = Rule("rfc3161-not-signed-data", Check.CONTENT)
SIGNED_DATA_MALFORMED = Rule("rfc3161-signed-data-malformed", Check.CONTENT)
SIGNED_DATA_VERSION = Rule("rfc3161-signed-data-version", Check.CONTENT)
CONTENT_TYPE = Rule("rfc3161-content-type", Check.CONTENT)
CONTENT_MISSING = Rule("rfc3161-content-missing", Check.CONTENT)
SIGNER_COUNT = Rule("rfc3161-signer-count", Check.CONTENT)
SIGNER_VERSION = Rule("rfc3161-signer-version", Check.CONTENT)
DIGEST_NOT_ALLOWED = Rule("rfc3161-digest-not-allowed", Check.CONTENT)
DIGEST_UNLISTED = Rule("rfc3161-digest-unlisted", Check.CONTENT)
SIGNATURE_ALGORITHM = Rule("rfc3161-signature-algorithm-not-allowed", Check.CONTENT)
ALGORITHMS_DISAGREE = Rule("rfc3161-algorithms-disagree", Check.CONTENT)
ATTRIBUTES_MISSING = Rule("rfc3161-attributes-missing", Check.CONTENT)
ATTRIBUTES_MALFORMED = Rule("rfc3161-attributes-malformed", Check.CONTENT)
ATTRIBUTES_UNSORTED = Rule("rfc3161-attributes-unsorted", Check.CONTENT)
ATTRIBUTE_REPEATED = Rule("rfc3161-attribute-repeated", Check.CONTENT)
CONTENT_TYPE_ATTRIBUTE = Rule("rfc3161-content-type-attribute", Check.CONTENT)
MESSAGE_DIGEST_MISSING = Rule("rfc3161-message-digest-missing", Check.CONTENT)
MESSAGE_DIGEST_MISMATCH = Rule("rfc3161-message-digest-mismatch", Check.CONTENT)
ALGORITHM_PROTECTION = Rule("rfc3161-algorithm-protection", Check.CONTENT)
FOREIGN_CERTIFICATE = Rule("rfc3161-foreign-certificate", Check.CONTENT, _WARNING)

# The statement itself (TSTInfo)
STATEMENT_MALFORMED = Rule("rfc3161-statement-malformed", Check.STATEMENT)
STATEMENT_VERSION = Rule("rfc3161-statement-version", Check.STATEMENT)
IMPRINT_ALGORITHM = Rule("rfc3161-imprint-algorithm-not-allowed", Check.STATEMENT)
IMPRINT_LENGTH = Rule("rfc3161-imprint-length", Check.STATEMENT)
TIME_MALFORMED = Rule("rfc3161-time-malformed", Check.STATEMENT)
TIME_NOT_CANONICAL = Rule("rfc3161-time-not-canonical", Check.STATEMENT, _WARNING)
ACCURACY_RANGE = Rule("rfc3161-accuracy-range", Check.STATEMENT)
ACCURACY_ZERO = Rule("rfc3161-accuracy-zero", Check.STATEMENT, _WARNING)
STATEMENT_EXTENSION = Rule("rfc3161-statement-extension", Check.STATEMENT)
POLICY_NOT_ALLOWED = Rule("rfc3161-policy-not-allowed", Check.STATEMENT)
QUALIFIED_CLAIM = Rule("rfc3161-qualified-claim", Check.STATEMENT, _INFO)

# What the statement is about
IMPRINT_OTHER_ALGORITHM = Rule("rfc3161-imprint-other-algorithm", Check.IMPRINT)
IMPRINT_MISMATCH = Rule("rfc3161-imprint-mismatch", Check.IMPRINT)

# What was asked
REQUEST_MALFORMED = Rule("rfc3161-request-malformed", Check.REQUEST)
REQUEST_IMPRINT = Rule("rfc3161-request-imprint-mismatch", Check.REQUEST)
REQUEST_POLICY = Rule("rfc3161-request-policy-mismatch", Check.REQUEST)
NONCE_MISSING = Rule("rfc3161-nonce-missing", Check.REQUEST)
NONCE_MISMATCH = Rule("rfc3161-nonce-mismatch", Check.REQUEST)
NONCE_UNASKED = Rule("rfc3161-nonce-unasked", Check.REQUEST, _WARNING)
CERTIFICATE_NOT_INCLUDED = Rule("rfc3161-certificate-not-included", Check.REQUEST)
CERTIFICATE_UNASKED = Rule("rfc3161-certificate-unasked", Check.REQUEST, _WARNING)

# Who signed it
SIGNER_CERTIFICATE_MISSING = Rule("rfc3161-signer-certificate-missing", Check.SIGNER, trust_only=True)
SIGNER_AMBIGUOUS = Rule("rfc3161-signer-ambiguous", Check.SIGNER, _WARNING)
ESS_MISSING = Rule("rfc3161-signing-certificate-missing", Check.SIGNER)
ESS_MALFORMED = Rule("rfc3161-signing-certificate-malformed", Check.SIGNER)
ESS_HASH = Rule("rfc3161-signing-certificate-hash-not-allowed", Check.SIGNER)
ESS_MISMATCH = Rule("rfc3161-signing-certificate-mismatch", Check.SIGNER)
ESS_ISSUER = Rule("rfc3161-signing-certificate-issuer", Check.SIGNER)
ESS_LEGACY = Rule("rfc3161-signing-certificate-legacy", Check.SIGNER, _WARNING)
TSA_NAME = Rule("rfc3161-tsa-name-mismatch", Check.SIGNER)

# Whether that signer really signed it
SIGNATURE_INVALID = Rule("rfc3161-signature-invalid", Check.SIGNATURE)
KEY_NOT_ALLOWED = Rule("rfc3161-key-not-allowed", Check.SIGNATURE)

# Whether that signer was entitled to
SIGNER_PURPOSE = Rule("rfc3161-signer-purpose", Check.CERTIFICATE)
SIGNER_PURPOSE_NOT_CRITICAL = Rule("rfc3161-signer-purpose-not-critical", Check.CERTIFICATE)
SIGNER_IS_CA = Rule("rfc3161-signer-is-ca", Check.CERTIFICATE)
SIGNER_KEY_USAGE = Rule("rfc3161-signer-key-usage", Check.CERTIFICATE)
SIGNER_VALIDITY = Rule("rfc3161-signer-validity", Check.CERTIFICATE)
SIGNER_KEY_PERIOD = Rule("rfc3161-signer-key-period", Check.CERTIFICATE)
SIGNER_EXTENSION = Rule("rfc3161-signer-critical-extension", Check.CERTIFICATE)

# Whether somebody trusted vouches for the signer
ROOT_UNREADABLE = Rule("rfc3161-root-unreadable", Check.PATH, _WARNING)
NO_ROOT_CONFIGURED = Rule("rfc3161-no-root-configured", Check.PATH, trust_only=True)
NO_TRUSTED_ROOT = Rule("rfc3161-no-trusted-root", Check.PATH, trust_only=True)
PATH_TOO_COMPLEX = Rule("rfc3161-path-too-complex", Check.PATH, trust_only=True)
PATH_ALGORITHM = Rule("rfc3161-path-algorithm", Check.PATH)
PATH_LEGACY = Rule("rfc3161-path-legacy-algorithm", Check.PATH, _WARNING)
PATH_REFUSED = Rule("rfc3161-path-refused", Check.PATH, _WARNING)
PATH_VALIDITY = Rule("rfc3161-path-validity", Check.PATH)
PATH_NOT_CA = Rule("rfc3161-path-not-a-ca", Check.PATH)
PATH_LENGTH = Rule("rfc3161-path-length", Check.PATH)
PATH_KEY_USAGE = Rule("rfc3161-path-key-usage", Check.PATH)
PATH_PURPOSE = Rule("rfc3161-path-purpose", Check.PATH)
PATH_NAMES = Rule("rfc3161-path-name-constraints", Check.PATH)
PATH_POLICY = Rule("rfc3161-path-policy", Check.PATH)
PATH_EXTENSION = Rule("rfc3161-path-critical-extension", Check.PATH)
ANCHOR_WINDOW = Rule("rfc3161-anchor-window", Check.PATH)
ANCHOR_POLICY = Rule("rfc3161-anchor-policy", Check.PATH)

# Whether a certificate had been withdrawn
REVOKED = Rule("rfc3161-revoked", Check.REVOCATION)
REVOKED_LATER = Rule("rfc3161-revoked-later", Check.REVOCATION, _WARNING)
NO_REVOCATION_EVIDENCE = Rule("rfc3161-no-revocation-evidence", Check.REVOCATION, _INFO)
REVOCATION_UNUSABLE = Rule("rfc3161-revocation-unusable", Check.REVOCATION, _INFO)
TRUSTED_LIST_UNUSABLE = Rule("rfc3161-trusted-list-unusable", Check.REVOCATION, _WARNING)


def all_rules() -> tuple[Rule, ...]:
    """Every rule of this module, in the order of the checks."""
    return tuple(value for value in globals().values() if isinstance(value, Rule))
