"""Two independent time-stamp authorities on this machine, for the demo, `indelible up` and the tests.

`sandbox-one` is certomancer, a test PKI by other people: RSA, an intermediate authority, CRL and OCSP.
`sandbox-two` is written here, shares no code with it, and can misbehave on command: ECDSA, CRL.
Each has its own root, runs as its own process and keeps its keys in its directory from one start to the next.

    with start_authorities(Path("somewhere")) as authorities:
        authorities.write_configuration(Path("authorities.toml"))   # what the ledger is told
        authorities.write_trust_policy(Path("trust.toml"))          # what an auditor trusts
"""

from sandbox.authorities.faults import Fault
from sandbox.authorities.running import Authorities, Authority, AuthorityError, start_authorities

__all__ = ["Authorities", "Authority", "AuthorityError", "Fault", "start_authorities"]
