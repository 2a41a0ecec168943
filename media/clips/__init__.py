"""Evidence clips: find the footage of an incident, preserve it, hold it, account for it, dispose of it."""
