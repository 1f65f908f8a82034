-- The pipeline: batches (internal/batch), notifications (orchestration), the
-- ledger and suppressions (delivery).

-- +goose Up
CREATE TABLE batches (
    id           uuid PRIMARY KEY,
    kind         text NOT NULL,           -- creation.expand, orchestration.plan, delivery.send, ...
    campaign     uuid,                    -- NULL: work of the installation (imports, folds)
    channel      text NOT NULL DEFAULT '',
    priority     smallint NOT NULL DEFAULT 5,  -- 0 first; transactional messages are 1
    slot         timestamptz NOT NULL,    -- not before
    lo           uuid,                    -- delivery.send: its notifications are lo <= id <= hi
    hi           uuid,
    size         int  NOT NULL DEFAULT 0,
    payload      jsonb,
    ticket       uuid,
    state        text NOT NULL DEFAULT 'planned' CHECK (state IN ('planned', 'queued', 'running', 'done', 'cancelled')),
    epoch        int  NOT NULL DEFAULT 1,
    tries        int  NOT NULL DEFAULT 0, -- claims so far
    owner        text,
    lease_until  timestamptz,             -- real time, never domain time
    queued_at    timestamptz,             -- real time
    error        text,                    -- of the last try
    created_at   timestamptz NOT NULL DEFAULT now(),
    finished_at  timestamptz
) WITH (fillfactor = 70);
CREATE INDEX batches_planned ON batches (kind, slot, id) WHERE state = 'planned';
CREATE INDEX batches_live ON batches (kind, state) WHERE state IN ('queued', 'running');
CREATE INDEX batches_cancelled ON batches (id) WHERE state = 'cancelled' AND lo IS NOT NULL;
CREATE INDEX batches_open_by_campaign ON batches (campaign) WHERE state IN ('planned', 'queued', 'running');

-- One row for each person a campaign concerns, also the skipped and the held out.
-- State: planned -> accepted | unknown | failed | cancelled; skipped, held_out.
-- "ready", "claimed" and "sending" are not written here: the batch and the attempt tell.
CREATE TABLE notifications (
    id             uuid NOT NULL,
    campaign       uuid NOT NULL,
    contact        uuid NOT NULL,
    step           text NOT NULL DEFAULT '',  -- transactional: the message's own key
    batch          uuid,
    channel        text NOT NULL,
    state          text NOT NULL,
    reason         text,                  -- kairos.Reason of a skip, failure or cancellation
    arm            text NOT NULL,
    propensity     double precision NOT NULL, -- of this slot, given the person and the rules
    eligible       bytea,                 -- bit mask of the 168 local hours that were allowed
    model          int,                   -- version of the timing model; NULL: none
    slot           smallint,              -- local hour of week, Monday 00 = 0
    zone           text,                  -- the zone the slot was resolved in
    planned_at     timestamptz NOT NULL,  -- the slot's instant; for skipped ones the decision's
    decided_at     timestamptz NOT NULL,
    done_at        timestamptz,
    data           jsonb,                 -- transactional: the values of this message
    PRIMARY KEY (id, campaign),
    UNIQUE (campaign, contact, step)
) PARTITION BY RANGE (campaign);
CREATE TABLE notifications_rest PARTITION OF notifications DEFAULT WITH (fillfactor = 50);

-- The ledger. State: sending -> accepted | rejected_temp | rejected_perm | not_sent | unknown;
-- unknown -> accepted | not_sent | abandoned | resend_forced. A row is inserted and committed
-- as "sending" before the first byte leaves.
CREATE TABLE attempts (
    notification   uuid NOT NULL,
    number         int  NOT NULL,         -- 1, 2, ...
    campaign       uuid NOT NULL,
    batch          uuid NOT NULL,
    epoch          int  NOT NULL,         -- the fence it was started under
    provider       text NOT NULL,
    state          text NOT NULL CHECK (state IN ('sending', 'accepted', 'rejected_temp', 'rejected_perm', 'not_sent', 'unknown', 'abandoned', 'resend_forced')),
    doubtful       boolean NOT NULL GENERATED ALWAYS AS (state = 'unknown') STORED,
    live           boolean NOT NULL GENERATED ALWAYS AS (state IN ('sending', 'unknown', 'accepted')) STORED,
    started_at     timestamptz NOT NULL,
    ended_at       timestamptz,
    provider_id    text,                  -- the provider's name for the message
    code           text,                  -- reply code or HTTP status
    detail         text,                  -- what the provider said, without addresses
    evidence       text,                  -- what resolved an unknown: event kind, operator, age
    PRIMARY KEY (notification, number, campaign)
) PARTITION BY RANGE (campaign);
CREATE TABLE attempts_rest PARTITION OF attempts DEFAULT WITH (fillfactor = 50);
-- The guard: at most one live attempt for a notification. Keyed on a generated
-- column, so that sending -> accepted leaves the index alone (HOT).
CREATE UNIQUE INDEX attempts_one_live ON attempts (notification, campaign) WHERE live;
-- Keyed on a generated column as well: an index that named state would make every
-- update of an attempt write all its indexes anew.
CREATE INDEX attempts_unknown ON attempts (started_at) WHERE doubtful;

-- Who must not be written to: by address (it outlives the contact) and by person
-- (it outlives a change of address). scope: all, or marketing only.
CREATE TABLE suppressions (
    channel       text  NOT NULL,
    address       bytea NOT NULL,         -- sha256 of the lower-case address
    scope         text  NOT NULL CHECK (scope IN ('all', 'marketing')),
    contact       uuid,
    reason        text  NOT NULL,         -- bounced, complained, unsubscribed, manual
    notification  uuid,
    created_at    timestamptz NOT NULL,
    PRIMARY KEY (channel, address, scope)
);
CREATE INDEX suppressions_contact ON suppressions (contact) WHERE contact IS NOT NULL;
