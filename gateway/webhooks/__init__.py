"""Webhooks: what others tell us (alerts, LiveKit) and what we tell others (Standard Webhooks)."""
