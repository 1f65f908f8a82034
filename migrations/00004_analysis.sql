-- What the log folds into. One writer: analysis.

-- +goose Up
-- Where each recipient stands on the journey: the state of the fold, one row for a
-- notification that the log speaks of.
CREATE TABLE journeys (
    notification    uuid PRIMARY KEY,
    campaign        uuid NOT NULL,
    contact         uuid NOT NULL,
    arm             text NOT NULL,
    channel         text NOT NULL,
    model           int,                  -- timing model that chose the hour; NULL: none did
    starts_at       timestamptz,          -- the planned moment, also of the held out: start of their window
    sent_at         timestamptz,          -- first attempt that counts
    until_at        timestamptz,          -- no later action concerns this journey
    opened_at       timestamptz,          -- first by a human
    clicked_at      timestamptz,
    state           jsonb NOT NULL        -- analysis.facts: the set of what is known
) WITH (fillfactor = 70);
CREATE INDEX journeys_contact ON journeys (contact);
CREATE INDEX journeys_campaign ON journeys (campaign, arm);
CREATE INDEX journeys_explored ON journeys (sent_at) WHERE arm = 'explore';

-- What people did that may be a campaign's goal: page events, payments, custom events, each
-- with its person. An action may come before the message's own facts; both meet here.
CREATE TABLE actions (
    contact       uuid NOT NULL,
    at            timestamptz NOT NULL,
    position      bigint NOT NULL,        -- of its event in the log
    kind          text NOT NULL,
    notification  uuid,                   -- when it came by the message's own token
    currency      text NOT NULL,          -- '' when it is no payment
    amount        numeric(24,6) NOT NULL,
    PRIMARY KEY (contact, at, position)
);

-- Counts by campaign, arm, channel and step. Rows of zero are not kept.
CREATE TABLE rollups (
    campaign  uuid NOT NULL,
    arm       text NOT NULL,
    channel   text NOT NULL,
    step      text NOT NULL,
    uniques   bigint NOT NULL,
    total     bigint NOT NULL,
    PRIMARY KEY (campaign, arm, channel, step)
) WITH (fillfactor = 70);

-- Money by campaign, arm and currency. attributed_*: payments that followed an open, a click
-- or the message's own token inside the attribution window. window_*: every payment of the
-- person inside the window, whatever was touched, also of the held out: what the
-- incremental estimate compares. squares: sum over people of (sum of payments)^2.
-- Currency '' counts conversions, the events of the campaign's goal: one unit each.
CREATE TABLE revenue (
    campaign              uuid NOT NULL,
    arm                   text NOT NULL,
    currency              text NOT NULL,
    attributed_people     bigint NOT NULL DEFAULT 0,
    attributed_payments   bigint NOT NULL DEFAULT 0,
    attributed_amount     numeric(24,6) NOT NULL DEFAULT 0,
    window_people         bigint NOT NULL DEFAULT 0,
    window_payments       bigint NOT NULL DEFAULT 0,
    window_amount         numeric(24,6) NOT NULL DEFAULT 0,
    window_squares        numeric(48,12) NOT NULL DEFAULT 0,
    PRIMARY KEY (campaign, arm, currency)
) WITH (fillfactor = 70);

-- What each person paid within a campaign's window: the state behind revenue.
CREATE TABLE conversions (
    campaign      uuid NOT NULL,
    notification  uuid NOT NULL,
    currency      text NOT NULL,
    attributed    numeric(24,6) NOT NULL DEFAULT 0,
    attributed_n  bigint NOT NULL DEFAULT 0,
    amount        numeric(24,6) NOT NULL DEFAULT 0,
    n             bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (notification, currency)
);
