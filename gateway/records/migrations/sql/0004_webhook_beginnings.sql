-- From which event of the operations chain on an endpoint is told: a place in the chain, since clocks of two machines do
-- not agree on what was first.
ALTER TABLE gateway.webhook_endpoints
    ADD COLUMN first_sequence bigint NOT NULL DEFAULT 1,
    ADD CONSTRAINT webhook_endpoints_first_sequence_check CHECK (first_sequence > 0);

-- What is being sent: a few rows, however many wait.
DROP INDEX gateway.webhook_deliveries_leased;
CREATE INDEX webhook_deliveries_leased ON gateway.webhook_deliveries (leased_until) WHERE leased_until IS NOT NULL;
