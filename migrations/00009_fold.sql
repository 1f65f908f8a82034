-- What reports on delivery time count, and room for the fold's updates. One writer: analysis.

-- +goose Up

-- Messages sent, and those of them responded to, by campaign, arm and the timing model that
-- chose the hour. A response is a human click, anything beyond it on a page, or an attributed
-- payment or other event of the campaign's goal, unless that is an open.
CREATE TABLE arms (
    campaign   uuid NOT NULL,
    arm        text NOT NULL,
    model      int  NOT NULL,            -- 0: none
    sent       bigint NOT NULL,
    responses  bigint NOT NULL,
    began_at   timestamptz NOT NULL,     -- the first of them was sent
    PRIMARY KEY (campaign, arm, model)
) WITH (fillfactor = 50);
INSERT INTO arms
SELECT campaign, arm, coalesce(model, 0), count(*), count(*) FILTER (WHERE responded), min(sent_at)
FROM (SELECT j.campaign, j.arm, j.model, j.sent_at,
             j.clicked_at IS NOT NULL
             OR j.state ?| ARRAY['more_clicks', 'viewed', 'cta', 'offer_accepted', 'offer_declined']
             OR EXISTS (SELECT FROM conversions v WHERE v.notification = j.notification AND v.attributed_n > 0
                        AND (v.currency <> '' OR coalesce(c.spec -> 'goal' ->> 'kind', '') <> 'notification.opened')) AS responded
      FROM journeys j LEFT JOIN campaigns c ON c.id = j.campaign WHERE j.sent_at IS NOT NULL) j
GROUP BY 1, 2, 3;

-- When what was explored was sent: keyed on a generated column, so that telling when a
-- message was sent, or that it was clicked, leaves all indexes alone (HOT).
-- A planned row grows by half when its message has been sent.
ALTER TABLE journeys SET (fillfactor = 40);
ALTER TABLE journeys ADD COLUMN explored_at timestamptz GENERATED ALWAYS AS (CASE WHEN arm = 'explore' THEN sent_at END) STORED;
DROP INDEX journeys_explored;
CREATE INDEX journeys_explored ON journeys (explored_at) WHERE explored_at IS NOT NULL;

-- Kinds with a reader of their own (eventlog.Filter): without it each reads all of the log.
CREATE INDEX events_rare ON events (xid, position) WHERE kind IN ('contact.erased', 'contact.preferred');
