-- The append-only log and its tickets. One writer: internal/eventlog.

-- +goose Up
CREATE TABLE tickets (
    id              uuid PRIMARY KEY,
    origin          text NOT NULL,        -- CloudEvents source: api, import, tracker, provider, system
    purpose         text NOT NULL DEFAULT '',
    classification  text[] NOT NULL DEFAULT '{}',
    legal_basis     text NOT NULL DEFAULT '',
    traceparent     text NOT NULL DEFAULT '',
    causation       uuid,
    actor           text NOT NULL DEFAULT '',
    created_at      timestamptz NOT NULL
);

CREATE TABLE events (
    position      bigint GENERATED ALWAYS AS IDENTITY,
    xid           xid8 NOT NULL DEFAULT pg_current_xact_id(),
    id            uuid NOT NULL,
    kind          text NOT NULL,
    version       smallint NOT NULL DEFAULT 1,
    subject       uuid NOT NULL,          -- the notification, else the contact, else the campaign, else the thing itself
    key           text NOT NULL DEFAULT '', -- what makes a repeat a repeat
    occurred_at   timestamptz NOT NULL,
    recorded_at   timestamptz NOT NULL DEFAULT now(),
    day           date NOT NULL,          -- of occurred_at in UTC: the partition key
    campaign      uuid,
    contact       uuid,
    notification  uuid,
    ticket        uuid,
    data          jsonb,
    UNIQUE (subject, kind, key, day)
) PARTITION BY RANGE (day);
CREATE TABLE events_rest PARTITION OF events DEFAULT;
CREATE INDEX events_tail ON events (xid, position);
CREATE INDEX events_contact ON events (contact, position) WHERE contact IS NOT NULL;

-- Keys that a client chose (order-17): unique for ever, on whatever day the repeat comes.
CREATE TABLE event_keys (
    subject  uuid NOT NULL,
    kind     text NOT NULL,
    key      text NOT NULL,
    event    uuid NOT NULL,
    at       timestamptz NOT NULL,
    PRIMARY KEY (subject, kind, key)
);

-- How far each reader of the log has come.
CREATE TABLE event_cursors (
    reader      text PRIMARY KEY,
    xid         xid8   NOT NULL,
    position    bigint NOT NULL,
    updated_at  timestamptz NOT NULL DEFAULT now()
);

-- kairos_uuid_floor returns the smallest version 7 id of a moment.
-- +goose StatementBegin
CREATE FUNCTION kairos_uuid_floor(at timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '00000000000000000000')::uuid
$$;
-- +goose StatementEnd

-- kairos_ensure_partitions makes the partitions of [today - back, today + ahead] days of
-- events and of the months around them for notifications and attempts. A day that already
-- has rows in the rest partition stays there. Returns how many were made.
-- +goose StatementBegin
CREATE FUNCTION kairos_ensure_partitions(today date, back int, ahead int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    d date; m date; made int := 0; t text; name text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('kairos.partitions'));
    FOR d IN SELECT generate_series(today - back, today + ahead, interval '1 day')::date LOOP
        name := 'events_' || to_char(d, 'YYYYMMDD');
        IF to_regclass(name) IS NULL THEN
            BEGIN
                EXECUTE format('CREATE TABLE %I PARTITION OF events FOR VALUES FROM (%L) TO (%L)', name, d, d + 1);
                made := made + 1;
            EXCEPTION WHEN check_violation THEN NULL;
            END;
        END IF;
    END LOOP;
    FOR m IN SELECT generate_series(date_trunc('month', today - back), date_trunc('month', today + ahead + 31), interval '1 month')::date LOOP
        FOREACH t IN ARRAY ARRAY['notifications', 'attempts'] LOOP
            name := t || '_' || to_char(m, 'YYYYMM');
            IF to_regclass(name) IS NULL THEN
                BEGIN
                    EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L) WITH (fillfactor = 50)', name, t,
                        kairos_uuid_floor(m::timestamp AT TIME ZONE 'UTC'),
                        kairos_uuid_floor((m + interval '1 month')::timestamp AT TIME ZONE 'UTC'));
                    made := made + 1;
                EXCEPTION WHEN check_violation THEN NULL;
                END;
            END IF;
        END LOOP;
    END LOOP;
    RETURN made;
END
$$;
-- +goose StatementEnd
