-- Access. One writer: api.

-- +goose Up
CREATE TABLE api_keys (
    id              text PRIMARY KEY,     -- the public part of the key
    secret          bytea NOT NULL,       -- sha256 of the 256-bit secret
    name            text NOT NULL,
    scopes          text[] NOT NULL,
    purpose         text NOT NULL DEFAULT '',       -- default of the caller's tickets
    classification  text[] NOT NULL DEFAULT '{}',
    created_at      timestamptz NOT NULL,
    revoked_at      timestamptz
);

CREATE TABLE idempotency_keys (
    caller       text NOT NULL,           -- api key id
    key          text NOT NULL,
    request      bytea NOT NULL,          -- sha256 of method, path and body
    state        text NOT NULL CHECK (state IN ('running', 'done')),
    status       int,
    headers      jsonb,
    body         bytea,
    lease_until  timestamptz,             -- real time: a running one whose process died may be taken over
    created_at   timestamptz NOT NULL,
    PRIMARY KEY (caller, key)
);
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);
