"""Who is asking at the gateway, what they may do, and the record of what was decided."""
