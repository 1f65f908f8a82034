-- Outgoing web hooks. One writer: analysis.

-- +goose Up
CREATE TABLE subscriptions (
    id             uuid PRIMARY KEY,      -- its batch has the same id
    url            text NOT NULL,
    kinds          text[] NOT NULL,       -- 'payment.received', 'notification.*'; none: all
    description    text NOT NULL,
    state          text NOT NULL CHECK (state IN ('active', 'paused', 'disabled')),
    reason         text NOT NULL DEFAULT '', -- of disabled: gone, failing
    secret         bytea NOT NULL,        -- sealed
    former         bytea,                 -- sealed: signs too until former_until
    former_until   timestamptz,
    xid            xid8 NOT NULL,         -- the last event that was delivered or passed over
    position       bigint NOT NULL,
    failures       int NOT NULL DEFAULT 0, -- in a row
    failing_since  timestamptz,
    next_at        timestamptz NOT NULL,  -- no attempt before
    attempts       bigint NOT NULL DEFAULT 0,
    version        int NOT NULL DEFAULT 1, -- of what a person set
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL
) WITH (fillfactor = 50);

-- The last attempts of each subscription: number modulo the places.
CREATE TABLE subscription_deliveries (
    subscription  uuid NOT NULL REFERENCES subscriptions ON DELETE CASCADE,
    place         smallint NOT NULL,
    number        bigint NOT NULL,
    event         uuid NOT NULL,
    kind          text NOT NULL,
    at            timestamptz NOT NULL,
    took_ms       int NOT NULL,
    status        int NOT NULL,           -- 0: no answer
    error         text NOT NULL,          -- empty: delivered
    PRIMARY KEY (subscription, place)
) WITH (fillfactor = 70);
