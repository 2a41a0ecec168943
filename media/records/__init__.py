"""The index of clips, their holds and their custody: PostgreSQL, the only source of truth and the only queue."""
