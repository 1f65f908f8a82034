-- A campaign's next batch, however many others of it or of others are due: so that
-- campaigns can take turns.

-- +goose Up

CREATE INDEX batches_planned_by_campaign ON batches (campaign, kind, slot, id) WHERE state = 'planned' AND campaign IS NOT NULL;
