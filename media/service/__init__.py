"""The evidence service: `indelible.evidence.v1` over gRPC, and extraction requests over NATS."""
