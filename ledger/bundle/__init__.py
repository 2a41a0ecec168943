"""Bundles: everything needed to verify one chain offline (docs/spec/bundle.md)."""

from ledger.bundle.writer import BundleSummary, write_bundle

__all__ = ["BundleSummary", "write_bundle"]
