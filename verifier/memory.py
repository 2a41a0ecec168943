"""How the memory of blocks and slices is used again."""

_LARGER_THAN_ANY_BLOCK = 4 * 1024 * 1024


def keep_freed_memory() -> None:
    """Make glibc keep freed blocks for the next ones, which makes the check of a long chain a third quicker.

    It gives every block back to the system at once unless a larger piece of memory was freed before, and what it then
    gets anew comes as pages that are each cleared and mapped. A large piece, freed untouched, is all it takes.
    """
    bytes(_LARGER_THAN_ANY_BLOCK)
