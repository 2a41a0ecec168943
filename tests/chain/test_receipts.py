from base64 import b64decode, b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.chain.receipt import InvalidReceiptError, ReceiptSigner, ReceiptStatement, ReceiptVerifier

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SIGNER = ReceiptSigner(key=KEY, name="ledger.test")
NOTE = SIGNER.sign(organisation_id="acme", chain_id="visit", sequence=7, digest=bytes(32))
VERIFIER = ReceiptVerifier(SIGNER.verifier_key)


def test_a_receipt_states_where_which_event_was_accepted() -> None:
    assert VERIFIER.verify(NOTE) == ReceiptStatement(
        organisation_id="acme", chain_id="visit", sequence=7, hash=bytes(32)
    )


def test_the_same_statement_gives_the_same_receipt() -> None:
    assert SIGNER.sign(organisation_id="acme", chain_id="visit", sequence=7, digest=bytes(32)) == NOTE


def test_the_note_has_the_form_of_c2sp() -> None:
    text, _, signature = NOTE.partition("\n\n")
    assert text == f"indelible-receipt/1\nacme\nvisit\n7\n{'00' * 32}"
    dash, name, encoded = signature.split(" ")
    assert (dash, name, encoded[-1]) == ("\u2014", "ledger.test", "\n")
    assert len(b64decode(encoded)) == 4 + 64


def test_no_character_of_a_receipt_can_be_changed() -> None:
    accepted = []
    for position, character in enumerate(NOTE):
        changed = NOTE[:position] + ("a" if character != "a" else "b") + NOTE[position + 1 :]
        try:
            VERIFIER.verify(changed)
        except InvalidReceiptError:
            continue
        accepted.append(position)
    assert accepted == []


def test_a_receipt_by_another_key_of_the_same_name_is_refused() -> None:
    other = ReceiptSigner(key=Ed25519PrivateKey.generate(), name="ledger.test")
    with pytest.raises(InvalidReceiptError, match=r"not signed by ledger\.test"):
        ReceiptVerifier(other.verifier_key).verify(NOTE)


def test_signatures_of_others_are_allowed_beside_ours() -> None:
    extra = b64encode(bytes(80)).decode()
    assert VERIFIER.verify(f"{NOTE}\u2014 witness.test {extra}\n") == VERIFIER.verify(NOTE)


@pytest.mark.parametrize(
    "note",
    [
        "",
        "\n\n",
        NOTE.rstrip("\n"),
        NOTE + "\n",
        NOTE.replace("\n7\n", "\n07\n"),
        NOTE.partition("\n\n")[0] + "\n\n",
        NOTE + NOTE.partition("\n\n")[2],
        NOTE + "x" * 5000,
    ],
)
def test_anything_that_is_not_a_receipt_is_refused(note: str) -> None:
    with pytest.raises(InvalidReceiptError):
        VERIFIER.verify(note)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "é", "a\n", "x" * 256])
def test_a_key_name_that_would_break_the_note_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        ReceiptSigner(key=KEY, name=name)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "ledger.test",
        "other" + SIGNER.verifier_key,
        SIGNER.verifier_key[:-4] + "AAA=",
        SIGNER.verifier_key[:-8],
        SIGNER.verifier_key.replace("+", "+00", 1),
        SIGNER.verifier_key.replace("+AQ", "+Ag"),
    ],
)
def test_a_verification_key_whose_parts_do_not_belong_together_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="not a receipt verification key"):
        ReceiptVerifier(key)
