"""Recordings of sessions: consent, LiveKit, tiles, and the processing of files into evidence."""
