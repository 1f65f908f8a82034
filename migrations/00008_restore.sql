-- Restores from a backup: how a database is known to have lost what it once
-- held, and that nothing is sent until somebody has decided. One writer: delivery.

-- +goose Up

-- One row.
CREATE TABLE delivery_state (
    one            boolean PRIMARY KEY DEFAULT true CHECK (one),
    installation   uuid NOT NULL,        -- names this database wherever it is restored to
    reconciled_at  timestamptz           -- real time: the reconciler's last round ended
);
INSERT INTO delivery_state (installation) VALUES (gen_random_uuid());

-- How far each data directory has seen the database come: it counts here and keeps the
-- number in a file. A number below the file's means that commits were lost.
CREATE TABLE watermarks (
    id    uuid PRIMARY KEY,              -- of the data directory
    n     bigint NOT NULL,
    at    timestamptz NOT NULL,          -- real time of the last count
    moment timestamptz NOT NULL          -- domain time of the last count
) WITH (fillfactor = 50);

-- While a row is not released nothing is sent anywhere.
CREATE TABLE freezes (
    id           uuid PRIMARY KEY,
    since        timestamptz,            -- domain time the restored database knows of last; NULL: not known
    frozen_at    timestamptz NOT NULL,   -- domain time: what was due by then may have left before the loss
    noticed_at   timestamptz NOT NULL DEFAULT clock_timestamp(), -- real time
    cause        text NOT NULL,
    actor        text NOT NULL DEFAULT '', -- who froze by hand
    held         uuid[] NOT NULL DEFAULT '{}', -- campaigns whose people were still being planned; they stay
                                         -- frozen after the release until all are planned and decided about
    due          text CHECK (due IN ('unknown', 'send', 'skip')), -- what to do with what was due; the release's choice
    released_at  timestamptz,
    released_by  text NOT NULL DEFAULT '',
    reason       text NOT NULL DEFAULT '',
    doubtful     bigint NOT NULL DEFAULT 0, -- notifications made unknown
    skipped      bigint NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX freezes_open ON freezes ((released_at IS NULL)) WHERE released_at IS NULL;
