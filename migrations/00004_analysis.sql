-- What the log folds into. One writer: analysis.

-- +goose Up
-- Where each recipient stands on the journey: the state of the fold, one row for a
-- notification that has any event past "planned".
CREATE TABLE journeys (
    notification    uuid PRIMARY KEY,
    campaign        uuid NOT NULL,
    contact         uuid NOT NULL,
    arm             text NOT NULL,
    channel         text NOT NULL,
    sent_at         timestamptz,
    opened_at       timestamptz,          -- first by a human
    clicked_at      timestamptz,
    state           jsonb NOT NULL        -- analysis.journey: counts by step, the open burst of clicks
) WITH (fillfactor = 70);
CREATE INDEX journeys_contact ON journeys (contact, sent_at);

-- Counts by campaign, arm, channel and step.
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
    window_squares        numeric(40,12) NOT NULL DEFAULT 0,
    PRIMARY KEY (campaign, arm, currency)
) WITH (fillfactor = 70);

-- What each person paid within a campaign's window: the state behind revenue.
CREATE TABLE conversions (
    campaign      uuid NOT NULL,
    notification  uuid NOT NULL,
    currency      text NOT NULL,
    attributed    numeric(24,6) NOT NULL DEFAULT 0,
    attributed_n  int NOT NULL DEFAULT 0,
    amount        numeric(24,6) NOT NULL DEFAULT 0,
    n             int NOT NULL DEFAULT 0,
    PRIMARY KEY (notification, currency)
);

-- +goose Down
DROP TABLE conversions, revenue, rollups, journeys;
