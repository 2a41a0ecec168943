"""Secrets among the settings: from the file named for it, or from the variable itself."""

from ledger.settings_reader import Reader

MAX_SECRET_BYTES = 4096


def read_secret(read: Reader, name: str) -> str | None:
    """The secret called `name`, or in the file that NAME_FILE names; None for neither."""
    file = read.optional_file(f"{name}_FILE")
    if file is None:
        return read.value(name, str, None)
    with file.open("rb") as opened:
        return opened.read(MAX_SECRET_BYTES).decode("utf-8", "replace").strip()
