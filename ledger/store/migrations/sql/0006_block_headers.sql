-- Evidence of a further kind: the header of a Bitcoin block, as a line of a header file (docs/spec/opentimestamps.md).
ALTER TABLE indelible.anchor_evidence
    DROP CONSTRAINT anchor_evidence_kind_check,
    ADD CONSTRAINT anchor_evidence_kind_check CHECK (kind IN ('certificate', 'crl', 'ocsp', 'header'));
