-- What sealed members say may be erased, in the transaction that notes it on the operations chain. Run as
-- indelible_owner. The events themselves hold digests only and stay as they are.

GRANT DELETE ON indelible.disclosures TO indelible_append;
