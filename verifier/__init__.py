"""Independent verifier: re-checks chains, bundles and anchors without trusting whoever kept the record.

It imports nothing of the ledger it checks. The rules it applies are those of `docs/spec`.
"""
