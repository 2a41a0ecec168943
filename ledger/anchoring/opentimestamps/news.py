"""What one calendar had to say in one round, and what that is worth."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from ledger.anchoring.opentimestamps.blocks import TrustedBlocks
from ledger.anchoring.opentimestamps.state import CalendarNotes
from ledger.anchoring.opentimestamps.timestamp import Leaf
from verifier.opentimestamps.headers import merkle_root

# What is taken of one answer, so that no calendar can fill the proof and keep the others out. Real paths have about
# 1,000 bytes, real answers one or two; each block that is claimed costs requests to explorers.
MAX_BLOCKS_CLAIMED = 4
MAX_LEAVES_TAKEN = 4
MAX_LEAF_BYTES = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class News:
    """What one calendar had to say: new notes about it, and what comes into the proof and goes out of it."""

    notes: CalendarNotes
    added: tuple[Leaf, ...] = ()
    dropped: tuple[Leaf, ...] = ()

    def joined(self, other: "News") -> "News":
        """Both, in this order."""
        return News(
            notes=CalendarNotes(
                promises=self.notes.promises + other.notes.promises,
                kept=self.notes.kept or other.notes.kept,
                unchecked={**self.notes.unchecked, **other.notes.unchecked},
                trouble=self.notes.trouble or other.notes.trouble,
            ),
            added=self.added + other.added,
            dropped=self.dropped + other.dropped,
        )


async def judge(answer: Sequence[Leaf], steps: tuple[bytes, ...], blocks: TrustedBlocks) -> News:
    """What an answer is worth that may lead to blocks; `steps` lead from the head to where it begins."""
    claims = {leaf.height for leaf in answer if leaf.is_bitcoin}
    heights = sorted(height for height in claims if height is not None)
    if len(heights) < len(claims) or len(heights) > MAX_BLOCKS_CLAIMED:
        return News(notes=CalendarNotes(trouble="its path to a Bitcoin block is malformed"))
    if any(leaf.is_bitcoin and leaf.size > MAX_LEAF_BYTES for leaf in answer):
        return News(notes=CalendarNotes(trouble="its path to a Bitcoin block is longer than any real one"))
    headers = await asyncio.gather(*(blocks.header(height) for height in heights))
    known = {height: header for height, header in zip(heights, headers, strict=True) if header is not None}
    for leaf in answer:
        if leaf.height in known and merkle_root(known[leaf.height]) != leaf.message:
            return News(notes=CalendarNotes(trouble=f"it claims block {leaf.height}, which says otherwise"))
    if not known:
        return News(notes=CalendarNotes())
    confirmed = [leaf for leaf in answer if leaf.height in known]
    others = [leaf for leaf in answer if not leaf.is_bitcoin and not leaf.is_pending and leaf.size <= MAX_LEAF_BYTES]
    taken = [*confirmed, *others][:MAX_LEAVES_TAKEN]
    return News(notes=CalendarNotes(kept=True), added=tuple(leaf.under(steps) for leaf in taken))
