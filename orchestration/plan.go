package orchestration

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"kairos"
	"kairos/internal/batch"
	"kairos/internal/eventlog"
	"kairos/internal/pg"
)

// Plan turns one page of an audience into notifications: each person is
// decided for, and those to be sent are cut into delivery batches that are due
// at their slot. Notifications, events, batches and the end of the page commit
// together.
func (o *Orchestration) Plan(ctx context.Context, task PlanTask) ([]kairos.Task, error) {
	claim, err := batch.Claim(ctx, o.pool, task.Ref, o.opts.Owner, batch.Lease)
	if err != nil || claim == nil {
		return nil, err
	}
	ctx, stop := batch.Keep(ctx, o.pool, task.Ref, o.opts.Owner, batch.Lease)
	defer stop()
	var page struct{ Page int }
	if err := claim.Into(&page); err != nil {
		return nil, err
	}
	c, err := o.campaign(ctx, claim.Campaign)
	if err != nil {
		return nil, err
	}
	if err := o.divide(ctx, c); err != nil {
		return nil, err
	}
	people, err := o.people(ctx, c, `
		SELECT unnest(contacts) AS id FROM audience_pages WHERE campaign = $1 AND page = $2`, c.id, page.Page)
	if err != nil {
		return nil, err
	}
	now := o.clock.Now()
	rows := make([]row, len(people))
	for i := range people {
		p := &people[i]
		loc, known := o.zones.find(p.zone)
		rows[i] = row{contact: p.id, decision: decide(c, p, loc, known, now)}
	}
	batches := cut(c, rows, o.opts.BatchSize, claim.Ticket)
	var refs []kairos.Ref
	err = pg.InTx(ctx, o.pool, func(tx pgx.Tx) (err error) {
		if err := batch.Hold(ctx, tx, task.Ref); err != nil {
			return err
		}
		if err := insertNotifications(ctx, tx, c, rows, now); err != nil {
			return err
		}
		if _, err := eventlog.Append(ctx, tx, eventsOf(c, rows, now)...); err != nil {
			return err
		}
		if refs, err = batch.Insert(ctx, tx, batches...); err != nil {
			return err
		}
		return batch.Finish(ctx, tx, task.Ref)
	})
	if err != nil {
		return nil, fmt.Errorf("plan page %d of %s: %w", page.Page, c, err)
	}
	tasks := make([]kairos.Task, len(refs))
	for i, ref := range refs {
		tasks[i] = SendTask{ref}
	}
	return tasks, nil
}

// row is a decision about to become a notification.
type row struct {
	decision
	contact, id, batch kairos.ID
}

// cut gives each row its id and cuts the planned ones into batches of one
// instant: the ids of a batch follow one another. People whose slot is an hour
// share an instant in it, drawn for campaign, hour and page, so that a
// campaign is spread over the hour and not over the hour's first second.
func cut(c *campaign, rows []row, size int, ticket kairos.ID) []batch.Batch {
	for i := range rows {
		if r := &rows[i]; !r.jitter.IsZero() {
			r.at = within(c.id, rows[0].contact, r.at, r.jitter)
			r.jitter = time.Time{}
		}
	}
	slices.SortStableFunc(rows, func(a, b row) int {
		if d := cmp.Compare(rank(a.state), rank(b.state)); d != 0 {
			return d
		}
		return a.at.Compare(b.at)
	})
	ids := kairos.NewIDRange(time.Now())
	var out []batch.Batch
	for i := range rows {
		r := &rows[i]
		r.id = ids.Nth(i)
		if r.state != kairos.StatePlanned {
			continue
		}
		if n := len(out); n == 0 || !out[n-1].Slot.Equal(r.at) || out[n-1].Size == size {
			out = append(out, batch.Batch{
				ID: kairos.NewID(), Kind: kairos.KindSend, Campaign: c.id, Channel: kairos.Email,
				Slot: r.at, Lo: r.id, Ticket: ticket,
			})
		}
		b := &out[len(out)-1]
		b.Hi, b.Size, r.batch = r.id, b.Size+1, b.ID
	}
	return out
}

func rank(state string) int {
	if state == kairos.StatePlanned {
		return 0
	}
	return 1
}

// within draws an instant of [from, until), to the second.
func within(campaign, page kairos.ID, from, until time.Time) time.Time {
	var b [40]byte
	copy(b[:16], campaign[:])
	copy(b[16:32], page[:])
	binary.BigEndian.PutUint64(b[32:], uint64(from.Unix()))
	sum := sha256.Sum256(b[:])
	seconds := max(uint64(until.Sub(from)/time.Second), 1)
	return from.Add(time.Duration(binary.BigEndian.Uint64(sum[:8])%seconds) * time.Second)
}

func (o *Orchestration) campaign(ctx context.Context, id kairos.ID) (*campaign, error) {
	c := &campaign{id: id}
	var spec []byte
	var launched *time.Time
	err := o.pool.QueryRow(ctx, `SELECT spec, ticket, launched_at FROM campaigns WHERE id = $1`, id).
		Scan(&spec, &c.ticket, &launched)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", c, err)
	}
	if c.spec, err = kairos.ParseSpec(spec); err != nil {
		return nil, fmt.Errorf("read %s: %w", c, err)
	}
	switch {
	case c.spec.Schedule.At != nil:
		c.start = *c.spec.Schedule.At
	case launched != nil:
		c.start = *launched
	default:
		c.start = o.clock.Now()
	}
	c.experiment.Experiment = sharesOf(&c.spec, 0) // until divide
	return c, nil
}

// people loads what decisions need of the contacts that a query (its first
// column is their id) yields, in its order: their order of hours as well where
// the campaign has a model with such.
func (o *Orchestration) people(ctx context.Context, c *campaign, ids string, args ...any) ([]person, error) {
	own, scores := "", ""
	for _, m := range []*model{&c.active, &c.canary} {
		if !m.personal {
			own += ", NULL::bytea"
			continue
		}
		args = append(args, m.version)
		n := strconv.Itoa(len(args))
		own += ", s" + n + ".hours"
		scores += " LEFT JOIN timing_scores s" + n + " ON s" + n + ".model = $" + n + "::int AND s" + n + ".contact = i.id"
	}
	rows, err := o.pool.Query(ctx, `
		SELECT i.id, c.id IS NULL, c.erased_at IS NOT NULL, c.email_key IS NOT NULL, coalesce(c.timezone, ''),
		       nullif(c.preferences, '{}'),
		       s.everything, s.marketing`+own+`
		FROM (`+ids+`) i LEFT JOIN contacts c ON c.id = i.id
		LEFT JOIN LATERAL (
			-- Two look-ups by key each: an OR is planned for an empty table as reading all of it for each person.
			SELECT coalesce(bool_or(scope = 'all'), false) AS everything, coalesce(bool_or(scope = 'marketing'), false) AS marketing
			FROM (SELECT scope FROM suppressions WHERE channel = 'email' AND address = sha256(convert_to(c.email_key, 'UTF8'))
			      UNION ALL
			      SELECT scope FROM suppressions WHERE contact = c.id AND channel || '' = 'email') x
		) s ON true`+scores, args...)
	if err != nil {
		return nil, fmt.Errorf("read contacts: %w", err)
	}
	return pgx.CollectRows(rows, func(r pgx.CollectableRow) (p person, err error) {
		var preferences []byte
		err = r.Scan(&p.id, &p.missing, &p.erased, &p.hasAddress, &p.zone, &preferences, &p.suppressed, &p.unsubscribed,
			(*[]byte)(&p.active), (*[]byte)(&p.canary))
		if err == nil && preferences != nil {
			err = json.Unmarshal(preferences, &p.preferences)
		}
		return p, err
	})
}

var notificationColumns = []string{
	"id", "campaign", "contact", "step", "batch", "channel", "state", "reason", "arm", "propensity", "eligible", "slot", "zone",
	"planned_at", "decided_at", "model", "data",
}

func insertNotifications(ctx context.Context, tx pgx.Tx, c *campaign, rows []row, now time.Time) error {
	_, err := tx.CopyFrom(ctx, pgx.Identifier{"notifications"}, notificationColumns,
		pgx.CopyFromSlice(len(rows), func(i int) ([]any, error) { return rows[i].values(c.id, "", now, nil), nil }))
	if err != nil {
		return fmt.Errorf("insert notifications: %w", err)
	}
	return nil
}

func (r *row) values(campaign kairos.ID, step string, now time.Time, data []byte) []any {
	var reason *string
	if r.reason != "" {
		s := string(r.reason)
		reason = &s
	}
	var eligible []byte
	if r.eligible != nil {
		eligible = r.eligible[:]
	}
	var model *int32
	if r.model != 0 {
		v := int32(r.model)
		model = &v
	}
	var json *string
	if data != nil {
		s := string(data)
		json = &s
	}
	return []any{
		r.id, campaign, r.contact, step, r.batch, string(kairos.Email), r.state, reason, string(r.arm), r.propensity,
		eligible, int16(r.slot), r.zone, r.at, now, model, json,
	}
}

func eventsOf(c *campaign, rows []row, now time.Time) []kairos.Event {
	events, said := make([]kairos.Event, len(rows)), sayings{}
	for i := range rows {
		r := &rows[i]
		e := kairos.Event{
			ID: kairos.NewID(), Kind: kairos.NotificationPlanned, OccurredAt: now,
			Campaign: c.id, Contact: r.contact, Notification: r.id, Ticket: c.ticket,
		}
		switch r.state {
		case kairos.StateSkipped:
			e.Kind, e.Data = kairos.NotificationSkipped, []byte(`{"reason":"`+string(r.reason)+`"}`)
		case kairos.StateHeldOut:
			e.Kind = kairos.NotificationHeldOut
		default:
			e.Data = said.json(r.told)
		}
		events[i] = e
	}
	return events
}
