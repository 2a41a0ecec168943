"""Block 170 of Bitcoin, with the first payment ever made: public facts that make a real proof without a calendar.

The block has two transactions. The proof is about the bytes of the second and leads from their SHA-256 to the block's
Merkle root in the way that any calendar's proof ends.
"""

import hashlib

MAGIC = b"\x00OpenTimestamps\x00\x00Proof\x00\xbf\x89\xe2\xe8\x84\xe8\x92\x94"
BITCOIN = bytes.fromhex("0588960d73d71901")

HEIGHT = 170
PAYMENT = bytes.fromhex(
    "0100000001c997a5e56e104102fa209c6a852dd90660a20b2d9c352423edce25857fcd3704000000004847304402204e45e16932b8af514961"
    "a1d3a1a25fdf3f4f7732e9d624c6c61548ab5fb8cd410220181522ec8eca07de4860a4acdd12909d831cc56cbbac4622082221a8768d1d0901"
    "ffffffff0200ca9a3b00000000434104ae1a62fe09c5f51b13905f07f06b99a2f7159b2225f374cd378d71302fa28414e7aab37397f554a7df"
    "5f142c21c1b7303b8a0626f1baded5c72a704f7e6cd84cac00286bee0000000043410411db93e1dcdb8a016b49840f8c53bc1eb68a382e97b1"
    "482ecad7b148a6909a5cb2e0eaddfb84ccf9744464f82e160bfa9b8b64f9d4c03f999b8643f656b412a3ac00000000"
)
COINBASE_ID = bytes.fromhex("b1fea52486ce0c62bb442b530a3f0132b826c74e473d1f2c220bfa78111c5082")[::-1]
ROOT = bytes.fromhex("7dac2c5666815c17a3b36427de37bb9d2e2c5ccec3f8633eb91a4205cb4c10ff")[::-1]
HEADER = (
    bytes.fromhex("01000000")
    + bytes.fromhex("000000002a22cfee1f2c846adbd12b3e183d4f97683f85dad08a79780a84bd55")[::-1]
    + ROOT
    + (1231731025).to_bytes(4, "little")
    + bytes.fromhex("ffff001d")
    + (1889418792).to_bytes(4, "little")
)
DIGEST = hashlib.sha256(PAYMENT).digest()
PATH = b"\x08" + b"\xf1\x20" + COINBASE_ID + b"\x08\x08"
ATTESTATION = b"\x00" + BITCOIN + b"\x02\xaa\x01"  # 170
PROOF = MAGIC + b"\x01\x08" + DIGEST + PATH + ATTESTATION
HEADERS = f"{HEIGHT} {HEADER.hex()}\n".encode()
