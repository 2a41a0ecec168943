"""The rules of a chain (docs/spec/chain.md). Pure: no input or output, no clock, no randomness, no logging."""
