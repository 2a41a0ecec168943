"""`sandbox-two`: a second time-stamp authority, written from RFC 3161 on asn1crypto and cryptography."""
