"""Anchoring: getting evidence from outside that a checkpoint's hash existed, and keeping at it until it is there.

`port` says what a backend promises, `rfc3161` is the backend for time-stamp authorities, `authorities` reads the
operator's file, `worker` asks and stores, `schedule` sets the checkpoints that are asked for.
"""
