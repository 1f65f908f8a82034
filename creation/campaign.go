package creation

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"kairos"
	"kairos/internal/eventlog"
	"kairos/internal/pg"
)

// Kinds of campaigns.
const (
	KindCampaign      = "campaign"
	KindTransactional = "transactional" // home of the transactional messages of one purpose, template and month
)

// Campaign is a stored campaign. Spec has every default filled in.
type Campaign struct {
	ID              kairos.ID           `json:"id"`
	Name            string              `json:"name"`
	Kind            string              `json:"kind"`
	State           string              `json:"state"`
	Spec            kairos.CampaignSpec `json:"spec"`
	Template        kairos.ID           `json:"template"`
	TemplateVersion int                 `json:"template_version"` // fixed when launched
	Ticket          kairos.ID           `json:"ticket,omitzero"`
	AudienceSize    *int64              `json:"audience_size,omitempty"` // counted at launch
	Error           string              `json:"error,omitempty"`
	CreatedAt       time.Time           `json:"created_at"`
	UpdatedAt       time.Time           `json:"updated_at"`
	LaunchedAt      *time.Time          `json:"launched_at,omitempty"`
	ExpandedAt      *time.Time          `json:"expanded_at,omitempty"` // every page of the audience has been cut
	FinishedAt      *time.Time          `json:"finished_at,omitempty"` // finished, failed or cancelled
}

// CreateCampaign checks the spec, fills its defaults in and stores it as a draft.
func (c *Creation) CreateCampaign(ctx context.Context, spec kairos.CampaignSpec, ticket kairos.Ticket) (Campaign, error) {
	now := c.clock.Now()
	if err := checkSpec(&spec, now); err != nil {
		return Campaign{}, err
	}
	ticket = completeTicket(ticket, &spec, now)
	id := kairos.NewIDAt(now)
	return c.inCampaignTx(ctx, func(tx pgx.Tx) (Campaign, error) {
		version, err := c.checkReferences(ctx, tx, &spec)
		if err != nil {
			return Campaign{}, err
		}
		if err := eventlog.PutTicket(ctx, tx, ticket); err != nil {
			return Campaign{}, err
		}
		if err := insertCampaign(ctx, tx, id, KindCampaign, kairos.Draft, &spec, version, ticket.ID, now); err != nil {
			return Campaign{}, err
		}
		return readCampaign(ctx, tx, id, "")
	})
}

// UpdateCampaign replaces the spec of a draft. ErrConflict: it was launched.
func (c *Creation) UpdateCampaign(ctx context.Context, id kairos.ID, spec kairos.CampaignSpec) (Campaign, error) {
	now := c.clock.Now()
	if err := checkSpec(&spec, now); err != nil {
		return Campaign{}, err
	}
	return c.inCampaignTx(ctx, func(tx pgx.Tx) (Campaign, error) {
		old, err := readCampaign(ctx, tx, id, "FOR NO KEY UPDATE")
		if err != nil {
			return Campaign{}, err
		}
		if old.State != kairos.Draft {
			return Campaign{}, conflict("campaign is %s, only a draft can be changed", old.State)
		}
		version, err := c.checkReferences(ctx, tx, &spec)
		if err != nil {
			return Campaign{}, err
		}
		raw, err := marshalSpec(&spec)
		if err != nil {
			return Campaign{}, err
		}
		_, err = tx.Exec(ctx, `
			UPDATE campaigns SET name = $2, purpose = $3, spec = $4, template = $5, template_version = $6, updated_at = $7 WHERE id = $1`,
			id, spec.Name, spec.Purpose, raw, spec.Template, version, now)
		if err != nil {
			return Campaign{}, fmt.Errorf("update campaign %s: %w", id, err)
		}
		return readCampaign(ctx, tx, id, "")
	})
}

// TransactionalCampaign returns the campaign that holds this month's
// transactional messages of a purpose and template, made and running when it
// isn't there yet. purpose "" is transactional. Its content is the template's
// newest version when it was made; a later save starts a new one.
func (c *Creation) TransactionalCampaign(ctx context.Context, template kairos.ID, purpose string, ticket kairos.Ticket) (Campaign, error) {
	now := c.clock.Now()
	if purpose == "" {
		purpose = "transactional"
	}
	spec := kairos.CampaignSpec{
		Name: purpose + " " + now.UTC().Format("2006-01"), Purpose: purpose, Template: template, Channels: []kairos.Channel{kairos.Email},
		Audience: kairos.Audience{All: true}, Schedule: kairos.Schedule{Mode: kairos.ModeNow},
	}
	if err := checkSpec(&spec, now); err != nil {
		return Campaign{}, err
	}
	spec.Audience = kairos.Audience{}
	ticket = completeTicket(ticket, &spec, now)
	return c.inCampaignTx(ctx, func(tx pgx.Tx) (Campaign, error) {
		version, err := c.checkReferences(ctx, tx, &spec)
		if err != nil {
			return Campaign{}, err
		}
		if found, err := findTransactional(ctx, tx, &spec, version, now); err != nil || len(found) > 0 {
			return first(found), err
		}
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended('kairos.transactional ' || $1, 0))`,
			template.String()+" "+purpose); err != nil {
			return Campaign{}, fmt.Errorf("lock transactional campaign: %w", err)
		}
		if found, err := findTransactional(ctx, tx, &spec, version, now); err != nil || len(found) > 0 {
			return first(found), err
		}
		if err := eventlog.PutTicket(ctx, tx, ticket); err != nil {
			return Campaign{}, err
		}
		id := kairos.NewIDAt(now)
		if err := insertCampaign(ctx, tx, id, KindTransactional, kairos.Running, &spec, version, ticket.ID, now); err != nil {
			return Campaign{}, err
		}
		return readCampaign(ctx, tx, id, "")
	})
}

// findTransactional returns the home of this month's messages, if there is one.
func findTransactional(ctx context.Context, tx pgx.Tx, spec *kairos.CampaignSpec, version int, now time.Time) ([]Campaign, error) {
	month := time.Date(now.UTC().Year(), now.UTC().Month(), 1, 0, 0, 0, 0, time.UTC)
	rows, err := tx.Query(ctx, `
		SELECT `+campaignColumns+` FROM campaigns
		WHERE kind = 'transactional' AND state IN ('running', 'paused') AND template = $1 AND template_version = $2 AND purpose = $3
		  AND created_at >= $4 AND created_at < $5 ORDER BY id LIMIT 1`,
		spec.Template, version, spec.Purpose, month, month.AddDate(0, 1, 0))
	if err != nil {
		return nil, fmt.Errorf("find transactional campaign: %w", err)
	}
	found, err := pgx.CollectRows(rows, scanCampaign)
	if err != nil {
		return nil, fmt.Errorf("find transactional campaign: %w", err)
	}
	return found, nil
}

func first(list []Campaign) Campaign {
	if len(list) == 0 {
		return Campaign{}
	}
	return list[0]
}

func insertCampaign(ctx context.Context, tx pgx.Tx, id kairos.ID, kind, state string, spec *kairos.CampaignSpec, version int, ticket kairos.ID, now time.Time) error {
	raw, err := marshalSpec(spec)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `
		INSERT INTO campaigns (id, name, kind, purpose, state, spec, template, template_version, ticket, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10)`,
		id, spec.Name, kind, spec.Purpose, state, raw, spec.Template, version, ticket, now)
	if err != nil {
		return fmt.Errorf("insert campaign: %w", err)
	}
	return nil
}

func marshalSpec(spec *kairos.CampaignSpec) (string, error) {
	raw, err := json.Marshal(spec)
	if err != nil {
		return "", fmt.Errorf("marshal campaign: %w", err)
	}
	return string(raw), nil
}

// Campaign returns a campaign.
func (c *Creation) Campaign(ctx context.Context, id kairos.ID) (Campaign, error) {
	return readCampaign(ctx, c.pool, id, "")
}

// CampaignQuery narrows a list of campaigns; empty fields don't.
type CampaignQuery struct {
	State string
	Limit int    // default 50, at most 1,000
	After string // the cursor of the list before
}

// Campaigns lists campaigns, the newest first, and the cursor to go on from, ""
// at the end. Transactional ones are left out.
func (c *Creation) Campaigns(ctx context.Context, q CampaignQuery) ([]Campaign, string, error) {
	limit, after, err := page(q.Limit, q.After)
	if err != nil {
		return nil, "", err
	}
	rows, err := c.pool.Query(ctx, `
		SELECT `+campaignColumns+` FROM campaigns
		WHERE kind = 'campaign' AND ($1::uuid IS NULL OR id < $1) AND ($2 = '' OR state = $2) ORDER BY id DESC LIMIT $3`, after, q.State, limit+1)
	if err != nil {
		return nil, "", fmt.Errorf("list campaigns: %w", err)
	}
	list, err := pgx.CollectRows(rows, scanCampaign)
	if err != nil {
		return nil, "", fmt.Errorf("list campaigns: %w", err)
	}
	if len(list) > limit {
		return list[:limit], list[limit-1].ID.String(), nil
	}
	return list, "", nil
}

const campaignColumns = `id, name, kind, state, spec, template, template_version, ticket, audience_size, coalesce(error, ''),
	created_at, updated_at, launched_at, expanded_at, finished_at`

func scanCampaign(r pgx.CollectableRow) (c Campaign, err error) {
	var spec []byte
	err = r.Scan(&c.ID, &c.Name, &c.Kind, &c.State, &spec, &c.Template, &c.TemplateVersion, &c.Ticket, &c.AudienceSize, &c.Error,
		&c.CreatedAt, &c.UpdatedAt, &c.LaunchedAt, &c.ExpandedAt, &c.FinishedAt)
	if err != nil {
		return c, err
	}
	c.Spec, err = kairos.ParseSpec(spec)
	return c, err
}

// readCampaign reads a campaign, with a locking clause where it will be changed.
func readCampaign(ctx context.Context, db querier, id kairos.ID, lock string) (Campaign, error) {
	rows, err := db.Query(ctx, `SELECT `+campaignColumns+` FROM campaigns WHERE id = $1 `+lock, id)
	if err != nil {
		return Campaign{}, fmt.Errorf("read campaign %s: %w", id, err)
	}
	c, err := pgx.CollectExactlyOneRow(rows, scanCampaign)
	if err != nil {
		return Campaign{}, missing(err, "campaign", id)
	}
	return c, nil
}

func (c *Creation) inCampaignTx(ctx context.Context, fn func(tx pgx.Tx) (Campaign, error)) (campaign Campaign, err error) {
	err = pg.InTx(ctx, c.pool, func(tx pgx.Tx) (err error) {
		campaign, err = fn(tx)
		return err
	})
	if err != nil {
		return Campaign{}, err
	}
	return campaign, nil
}

// completeTicket fills in what the request left open from the campaign.
func completeTicket(t kairos.Ticket, spec *kairos.CampaignSpec, now time.Time) kairos.Ticket {
	if t.ID.IsZero() {
		t.ID = kairos.NewIDAt(now)
	}
	if t.Origin == "" {
		t.Origin = "system"
	}
	if t.Purpose == "" {
		t.Purpose = spec.Purpose
	}
	if t.Classification == nil {
		t.Classification = spec.Classification
	}
	if t.CreatedAt.IsZero() {
		t.CreatedAt = now
	}
	return t
}
