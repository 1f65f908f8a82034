-- Delivery-time optimisation. One writer: analysis (profiles: the fold; the rest:
-- analysis/timing), but experiments: orchestration.

-- +goose Up

-- How a campaign's people are divided, fixed when its first page is planned, so that all
-- its pages divide alike whatever is promoted or configured meanwhile.
CREATE TABLE experiments (
    campaign      uuid PRIMARY KEY,
    holdout       double precision NOT NULL, -- shares of all people
    control       double precision NOT NULL,
    explore       double precision NOT NULL,
    model         int,                   -- active then; NULL: none
    canary        int,                   -- candidate on trial then; NULL: none
    canary_share  double precision NOT NULL DEFAULT 0, -- of the optimised arm
    decided_at    timestamptz NOT NULL
);
CREATE INDEX experiments_model ON experiments (model) WHERE model IS NOT NULL;
CREATE INDEX experiments_canary ON experiments (canary) WHERE canary IS NOT NULL;

-- Organic activity of each person by local hour of day: events outside our own response
-- windows, at most one for each hour that passed. An event at t adds the weight
-- 2^((days from 2020-01-01 00:00 UTC to t) / dto.HalfLife); divided by the weight of now it
-- is activity as of now, so old events fade without being touched (analysis.weightOf).
CREATE TABLE profiles (
    contact   uuid PRIMARY KEY,
    activity  real[] NOT NULL,           -- 24
    seen_on   date NOT NULL,             -- newest local day with activity
    hours     int  NOT NULL              -- which hours of that day are counted, bit h
) WITH (fillfactor = 80);

-- Matured exploration deliveries: what curves are learnt from. A row is a randomised
-- delivery whose response window has passed, with the chance its hour had.
CREATE TABLE exposures (
    notification  uuid PRIMARY KEY,
    contact       uuid NOT NULL,
    campaign      uuid NOT NULL,
    sent_at       timestamptz NOT NULL,
    hour          smallint NOT NULL,     -- local hour of day, as drawn
    allowed       int NOT NULL,          -- local hours it was drawn from, bit h
    propensity    real NOT NULL,         -- of the local hour of day
    responded     boolean NOT NULL,      -- within the response window
    dropped       text                   -- why it teaches nothing: overlap, late; NULL: it counts
);
CREATE INDEX exposures_sent ON exposures (sent_at);

-- The registry. A row is a training run and, when it succeeded, the model it made.
CREATE TABLE timing_models (
    version       int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    state         text NOT NULL CHECK (state IN ('training', 'failed', 'candidate', 'canary', 'active', 'retired', 'rejected')),
    parent        int,                   -- active when it was trained
    look          int NOT NULL DEFAULT 0, -- which look at the growing log it is; its error rate is alpha / (look (look + 1))
    code          text NOT NULL,         -- version of this program
    seed          bigint NOT NULL,
    requested_by  text NOT NULL,
    request_reason text NOT NULL,
    verdict       text,                  -- dto.Verdict; NULL: not trained
    data          jsonb,                 -- timing.Snapshot: window, counts, filters
    hours         bytea,                 -- local hours, best first, for people without a score
    model         jsonb,                 -- dto.Model
    off_policy    jsonb,                 -- timing.OffPolicy
    canary        jsonb,                 -- timing.Canary
    drift         jsonb,                 -- timing.Drift
    error         text,                  -- why the run failed
    reason        text NOT NULL DEFAULT '', -- why the state is what it is, in words
    created_at    timestamptz NOT NULL,
    trained_at    timestamptz,
    canary_at     timestamptz,
    active_at     timestamptz,
    ended_at      timestamptz,           -- retired, rejected or failed
    scored_at     timestamptz            -- people's hours were last computed
);
CREATE UNIQUE INDEX timing_models_active ON timing_models ((state)) WHERE state IN ('active', 'canary');

-- Who decided what about a model, and why.
CREATE TABLE timing_decisions (
    version  int NOT NULL REFERENCES timing_models,
    at       timestamptz NOT NULL,
    action   text NOT NULL,              -- requested, trained, failed, canary, promoted, rejected, rolled_back, retired, drifted
    actor    text NOT NULL,              -- a person's name; 'kairos' for what follows from rules
    reason   text NOT NULL,
    number   bigint GENERATED ALWAYS AS IDENTITY,
    PRIMARY KEY (version, number)
);

-- People's hours under the active model and the one on trial, best first. Without a row
-- the model's own hours hold.
CREATE TABLE timing_scores (
    model    int NOT NULL,
    contact  uuid NOT NULL,
    cluster  smallint NOT NULL,          -- -1: no activity known
    hours    bytea NOT NULL,             -- up to 24 bytes, each a local hour of day
    PRIMARY KEY (model, contact)
) WITH (fillfactor = 80);

-- The drift watch's diary of the active model.
CREATE TABLE timing_days (
    model      int NOT NULL REFERENCES timing_models,
    day        date NOT NULL,            -- UTC day of sending
    n          bigint NOT NULL,          -- matured deliveries of the model
    responses  bigint NOT NULL,
    control_n  bigint NOT NULL,          -- of control, the same campaigns
    control_responses bigint NOT NULL,
    residual   double precision,         -- standardised; NULL: nothing can be said
    level      double precision NOT NULL, -- Page-Hinkley
    PRIMARY KEY (model, day)
);

-- How far the periodic work has come: one row.
CREATE TABLE timing_state (
    one            boolean PRIMARY KEY DEFAULT true CHECK (one),
    matured_until  timestamptz,          -- exposures of what was sent before are taken
    exposures      bigint NOT NULL DEFAULT 0, -- that count
    responses      bigint NOT NULL DEFAULT 0  -- to them
);
INSERT INTO timing_state DEFAULT VALUES;
