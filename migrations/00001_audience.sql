-- Audience and content. One writer: creation.

-- +goose Up
CREATE TABLE contacts (
    id           uuid PRIMARY KEY,
    external_id  text UNIQUE,
    email        text,                 -- as written, for the To header
    email_key    text UNIQUE,          -- lower case: one person, one address
    phone        text,
    first_name   text,
    last_name    text,
    locale       text,
    timezone     text,                 -- IANA name; NULL: the installation's default zone
    region       text,
    attributes   jsonb NOT NULL DEFAULT '{}',
    preferences  jsonb NOT NULL DEFAULT '{}',
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    erased_at    timestamptz           -- personal data removed, the row stays for the counts
) WITH (fillfactor = 90);

CREATE TABLE segments (
    id          uuid PRIMARY KEY,
    name        text NOT NULL,
    expression  text NOT NULL,
    created_at  timestamptz NOT NULL
);

CREATE TABLE templates (
    id          uuid PRIMARY KEY,
    name        text NOT NULL,
    channel     text NOT NULL,
    version     int  NOT NULL,         -- the newest
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL
);

-- Immutable: a save adds a row, nothing changes one.
CREATE TABLE template_versions (
    template    uuid NOT NULL REFERENCES templates,
    version     int  NOT NULL,
    subject     text NOT NULL,
    html        text NOT NULL,
    text        text NOT NULL,
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (template, version)
);

CREATE TABLE campaigns (
    id                uuid PRIMARY KEY,
    name              text NOT NULL,
    kind              text NOT NULL DEFAULT 'campaign' CHECK (kind IN ('campaign', 'transactional')),
    purpose           text NOT NULL,
    state             text NOT NULL CHECK (state IN ('draft', 'scheduled', 'running', 'paused', 'cancelled', 'finished', 'failed')),
    spec              jsonb NOT NULL,   -- kairos.CampaignSpec
    template          uuid NOT NULL,
    template_version  int  NOT NULL,    -- pinned when launched; later saves of the template do not reach it
    ticket            uuid,
    audience_size     bigint,           -- counted at launch
    error             text,
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL,
    launched_at       timestamptz,
    expanded_at       timestamptz,      -- every page of the audience has been cut
    finished_at       timestamptz,
    FOREIGN KEY (template, template_version) REFERENCES template_versions
);
CREATE INDEX campaigns_open ON campaigns (state) WHERE state IN ('scheduled', 'running', 'paused');

-- A page of a campaign's audience, cut by keyset; orchestration.plan reads it.
CREATE TABLE audience_pages (
    campaign  uuid  NOT NULL REFERENCES campaigns,
    page      int   NOT NULL,
    contacts  uuid[] NOT NULL,
    PRIMARY KEY (campaign, page)
);

CREATE TABLE imports (
    id           uuid PRIMARY KEY,
    format       text NOT NULL CHECK (format IN ('csv', 'ndjson')),
    state        text NOT NULL CHECK (state IN ('running', 'finished', 'failed')),
    header       text[],
    chunks       int    NOT NULL DEFAULT 0,  -- received
    received     boolean NOT NULL DEFAULT false, -- the whole body is here
    bytes        bigint NOT NULL DEFAULT 0,
    rows         bigint NOT NULL DEFAULT 0,
    created      bigint NOT NULL DEFAULT 0,
    updated      bigint NOT NULL DEFAULT 0,
    rejected     bigint NOT NULL DEFAULT 0,
    errors       jsonb  NOT NULL DEFAULT '[]', -- the first 1,000: {"row", "error"}
    error        text,
    created_at   timestamptz NOT NULL,
    finished_at  timestamptz
);

-- The body of an import, cut at row ends; a row leaves when its contacts are in.
CREATE TABLE import_chunks (
    import     uuid   NOT NULL REFERENCES imports,
    seq        int    NOT NULL,
    first_row  bigint NOT NULL,
    data       bytea  NOT NULL,
    PRIMARY KEY (import, seq)
);
ALTER TABLE import_chunks ALTER COLUMN data SET STORAGE EXTERNAL;
