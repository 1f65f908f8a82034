package creation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"kairos"
	"kairos/internal/batch"
	"kairos/internal/pg"
)

// ExpandTask asks for the next page of a launched campaign's audience.
type ExpandTask struct{ kairos.Ref }

// Kind implements kairos.Task.
func (ExpandTask) Kind() string { return kairos.KindExpand }

type expandPayload struct {
	After kairos.ID `json:"after,omitzero"` // the last contact of the page before
	Page  int       `json:"page"`           // number of the page to cut, from 0
}

type planPayload struct {
	Page int `json:"page"`
}

// errHeld: the campaign was paused or cancelled since the claim.
var errHeld = errors.New("campaign is not going")

// Expand cuts one page: its contacts, the batch that plans it and the batch that
// cuts the next commit together with the end of this one, so an expansion
// resumes at the page it was cut off at. The page after the last marks the
// campaign as expanded.
func (c *Creation) Expand(ctx context.Context, task ExpandTask) ([]kairos.Task, error) {
	claim, err := batch.Claim(ctx, c.pool, task.Ref, c.opts.Owner, batch.Lease)
	if err != nil || claim == nil {
		return nil, err
	}
	held, stop := batch.Keep(ctx, c.pool, task.Ref, c.opts.Owner, batch.Lease)
	defer stop()
	var at expandPayload
	if err := claim.Into(&at); err != nil {
		return nil, err
	}
	p, err := readCampaign(held, c.pool, claim.Campaign, "")
	if err != nil {
		return nil, err
	}
	if p.LaunchedAt == nil {
		return nil, fmt.Errorf("expand campaign %s: it was never launched: %w", p.ID, kairos.ErrPermanent)
	}
	a, err := audienceOf(held, c.pool, p.Spec.Audience, *p.LaunchedAt)
	if err != nil {
		return nil, fmt.Errorf("expand campaign %s: %w", p.ID, err)
	}
	ids, err := a.page(held, c.pool, at.After, c.opts.PageSize)
	if err != nil {
		return nil, fmt.Errorf("expand campaign %s: %w", p.ID, err)
	}
	var next []kairos.Task
	now := c.clock.Now()
	err = pg.InTx(held, c.pool, func(tx pgx.Tx) error {
		next, err = commitPage(held, tx, claim, at, ids, len(ids) < c.opts.PageSize, now)
		return err
	})
	switch {
	case errors.Is(err, errHeld):
		err = batch.Defer(ctx, c.pool, task.Ref, now, nil)
	case err != nil && errors.Is(context.Cause(held), batch.ErrFenced):
		err = batch.ErrFenced
	}
	if errors.Is(err, batch.ErrFenced) {
		return nil, nil // somebody else has it, or nobody should
	}
	if err != nil {
		return nil, fmt.Errorf("expand campaign %s: %w", p.ID, err)
	}
	return next, nil
}

// commitPage writes what follows from a page. The campaign's row is locked
// first: a cancellation comes wholly before or wholly after it.
func commitPage(ctx context.Context, tx pgx.Tx, claim *batch.Claimed, at expandPayload, ids []kairos.ID, last bool, now time.Time) ([]kairos.Task, error) {
	var state string
	err := tx.QueryRow(ctx, `SELECT state FROM campaigns WHERE id = $1 FOR NO KEY UPDATE`, claim.Campaign).Scan(&state)
	if err != nil {
		return nil, fmt.Errorf("lock campaign: %w", err)
	}
	if state != kairos.Running && state != kairos.Scheduled {
		return nil, errHeld
	}
	var kinds []string
	var batches []batch.Batch
	if len(ids) > 0 {
		_, err := tx.Exec(ctx, `INSERT INTO audience_pages (campaign, page, contacts) VALUES ($1, $2, $3)`, claim.Campaign, at.Page, ids)
		if err != nil {
			return nil, fmt.Errorf("insert page %d: %w", at.Page, err)
		}
		kinds = append(kinds, kairos.KindPlan)
		batches = append(batches, batch.Batch{
			Kind: kairos.KindPlan, Campaign: claim.Campaign, Slot: now, Size: len(ids), Payload: planPayload{Page: at.Page}, Ticket: claim.Ticket,
		})
	}
	if last {
		_, err := tx.Exec(ctx, `UPDATE campaigns SET expanded_at = $2, updated_at = $2 WHERE id = $1`, claim.Campaign, now)
		if err != nil {
			return nil, fmt.Errorf("mark as expanded: %w", err)
		}
	} else {
		kinds = append(kinds, kairos.KindExpand)
		batches = append(batches, batch.Batch{
			Kind: kairos.KindExpand, Campaign: claim.Campaign, Slot: now, Ticket: claim.Ticket,
			Payload: expandPayload{After: ids[len(ids)-1], Page: at.Page + 1},
		})
	}
	refs, err := batch.Insert(ctx, tx, batches...)
	if err != nil {
		return nil, err
	}
	if err := batch.Finish(ctx, tx, claim.Ref); err != nil {
		return nil, err
	}
	next := make([]kairos.Task, len(refs))
	for i, ref := range refs {
		next[i] = followUp{Ref: ref, kind: kinds[i]}
	}
	return next, nil
}
