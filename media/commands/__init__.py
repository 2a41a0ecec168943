"""The commands `indelible clip` and `indelible evidence`."""
