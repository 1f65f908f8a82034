package delivery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"

	"kairos"
	"kairos/internal/batch"
	"kairos/internal/eventlog"
	"kairos/internal/pg"
)

// settleSQL moves attempts out of one state, and with each its notification.
// An attempt that is in another state by now is left alone, with everything
// that would have followed. It returns the places, from 1, of those that moved.
//
// $1 campaign, $2 the state they must be in, $3 now; then one array each:
// $4 notification, $5 number, $6 provider's id, $7 code, $8 state, $9 detail,
// $10 the notification's state, $11 its reason, $12 its new batch,
// $13 evidence.
const settleSQL = `
WITH given AS (
	SELECT * FROM unnest($4::uuid[], $5::int[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::uuid[], $13::text[])
		WITH ORDINALITY AS g(id, number, provider_id, code, state, detail, note, reason, batch, evidence, place)` + settleGiven

// acceptSQL is settleSQL for attempts that were all accepted, with no more to
// tell of them: it takes $1 to $7.
const acceptSQL = `
WITH given AS (
	SELECT *, 'accepted' AS state, '' AS detail, 'accepted' AS note, '' AS reason, NULL::uuid AS batch, '' AS evidence
	FROM unnest($4::uuid[], $5::int[], $6::text[], $7::text[]) WITH ORDINALITY AS g(id, number, provider_id, code, place)` + settleGiven

const settleGiven = `
	-- True of every row; planners take it for one row and look the attempts up by key.
	WHERE number BETWEEN 1 AND 1000000000 AND place BETWEEN 1 AND 1000000000
), moved AS (
	UPDATE attempts a SET state = g.state, ended_at = coalesce(a.ended_at, $3),
	       provider_id = coalesce(nullif(g.provider_id, ''), a.provider_id), code = coalesce(nullif(g.code, ''), a.code),
	       detail = coalesce(nullif(g.detail, ''), a.detail), evidence = coalesce(nullif(g.evidence, ''), a.evidence)
	FROM given g
	WHERE a.notification = g.id AND a.number = g.number AND a.campaign = $1 AND a.state = $2
	RETURNING g.place, a.notification, g.note, g.reason AS why, g.batch AS retry
), noted AS (
	UPDATE notifications n SET state = m.note, reason = coalesce(nullif(m.why, ''), n.reason),
	       done_at = CASE WHEN m.note <> 'planned' THEN $3 END, batch = coalesce(m.retry, n.batch)
	FROM moved m
	WHERE n.id = m.notification AND n.campaign = $1
	  AND (n.state IN ('planned', 'unknown') OR n.state = 'cancelled' AND m.note <> 'planned')
	  AND (m.note <> n.state OR m.retry IS NOT NULL)
)
SELECT place FROM moved`

// change is one attempt that really moved.
type change struct {
	*ending
	was, is string
}

// settle writes the results of attempts in one transaction: attempts,
// notifications, events, suppressions and the batches of what is tried again.
// Repeating it changes nothing: an attempt moves once.
func (d *Delivery) settle(ctx context.Context, e *endings) error {
	err := pg.InTx(ctx, byIndex{d}, func(tx pgx.Tx) error {
		var events []kairos.Event
		if len(e.skips)+len(e.orphans) > 0 {
			more, err := d.settleUnopened(ctx, tx, e)
			if err != nil {
				return err
			}
			events = more
		}
		return d.write(ctx, tx, e, events)
	})
	if err != nil {
		return fmt.Errorf("settle attempts: %w", err)
	}
	return nil
}

// ledgerSettings holds for the rest of a transaction; see byIndex.
const ledgerSettings = `set_config('enable_seqscan', 'off', true), set_config('synchronous_commit',
	CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, true)`

// byIndex begins transactions whose statements look each row up by index. A
// plan made while a partition is small reads all of it, is kept for the
// connection's life, and would still do so when a campaign has filled it with
// millions of rows. Their commits are durable also where the server's default
// is not to wait: a ledger that forgets writes to people twice.
type byIndex struct{ d *Delivery }

// Begin implements pg.Beginner.
func (b byIndex) Begin(ctx context.Context) (pgx.Tx, error) {
	return b.d.pool.BeginTx(ctx, pgx.TxOptions{BeginQuery: "BEGIN; SELECT " + ledgerSettings})
}

// write moves attempts with all that follows, in the caller's transaction, and
// appends the given events beside its own.
func (d *Delivery) write(ctx context.Context, tx pgx.Tx, e *endings, events []kairos.Event) error {
	changes, err := d.move(ctx, tx, e)
	if err != nil {
		return err
	}
	if err := d.insertRetries(ctx, tx, e, changes); err != nil {
		return err
	}
	var bad []Suppression
	events = slices.Grow(events, 2*len(changes))
	var room []byte // of their data
	for _, c := range changes {
		events = e.eventsOf(events, &room, c)
		if c.result.BadAddress && c.is == kairos.AttemptRejectedPerm {
			bad = append(bad, Suppression{Channel: e.channel, Address: c.email, Scope: ScopeAll, Reason: Bounced, Notification: c.id, At: e.at})
		}
	}
	if err := suppress(ctx, tx, bad); err != nil {
		return err
	}
	_, err = eventlog.Append(ctx, tx, events...)
	return err
}

// move applies the state machine to the ledger: out of sending first, then
// out of unknown for what the reconciler has given up meanwhile.
func (d *Delivery) move(ctx context.Context, tx pgx.Tx, e *endings) ([]change, error) {
	todo := make([]*ending, len(e.all))
	for i := range e.all {
		todo[i] = &e.all[i]
	}
	var changes []change
	for _, state := range []string{kairos.AttemptSending, kairos.AttemptUnknown} {
		if len(todo) == 0 {
			break
		}
		moved, left, err := d.moveFrom(ctx, tx, e, state, todo)
		if err != nil {
			return nil, err
		}
		changes, todo = append(changes, moved...), left
	}
	return changes, nil
}

func (d *Delivery) moveFrom(ctx context.Context, tx pgx.Tx, e *endings, state string, todo []*ending) (moved []change, left []*ending, err error) {
	given := make([]change, 0, len(todo))
	plain := state == kairos.AttemptSending // all of them accepted, nothing else to tell
	for _, end := range todo {
		to, ok := next(state, end.trigger)
		if !ok {
			left = append(left, end)
			continue
		}
		if state == kairos.AttemptUnknown && end.note == kairos.StatePlanned && end.retry.IsZero() {
			// Its batch may be over by now, so it gets one of its own.
			if e.late.IsZero() {
				e.late = kairos.NewID()
			}
			e.retry(e.late, end.id, e.at)
			end.retry = e.late
		}
		plain = plain && to == kairos.AttemptAccepted && end.note == kairos.StateAccepted &&
			end.result.Detail == "" && end.reason == "" && end.evidence == "" && end.retry.IsZero()
		given = append(given, change{end, state, to})
	}
	if len(given) == 0 {
		return nil, left, nil
	}
	query, args := settleSQL, columnsOf(given, plain)
	if plain {
		query = acceptSQL
	}
	rows, err := tx.Query(ctx, query, append([]any{e.campaign, state, e.at}, args...)...)
	if err != nil {
		return nil, nil, fmt.Errorf("move attempts from %s: %w", state, err)
	}
	stayed := make([]bool, len(given))
	for i := range stayed {
		stayed[i] = true
	}
	moved = make([]change, 0, len(given))
	var place int64
	_, err = pgx.ForEachRow(rows, []any{&place}, func() error {
		moved = append(moved, given[place-1])
		stayed[place-1] = false
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("move attempts from %s: %w", state, err)
	}
	for i, c := range given {
		if stayed[i] {
			left = append(left, c.ending)
		}
	}
	return moved, left, nil
}

// columnsOf returns the arrays of settleSQL, or the first four for acceptSQL.
func columnsOf(given []change, plain bool) []any {
	n := len(given)
	ids, numbers, providers, codes := make([]kairos.ID, n), make([]int32, n), make([]string, n), make([]string, n)
	for i, c := range given {
		ids[i], numbers[i], providers[i], codes[i] = c.id, c.number, c.result.ProviderID, c.result.Code
	}
	if plain {
		return []any{ids, numbers, providers, codes}
	}
	states, details, notes, reasons, evidence := make([]string, n), make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	retries := make([]kairos.ID, n)
	for i, c := range given {
		states[i], details[i], notes[i], reasons[i], evidence[i], retries[i] = c.is, c.result.Detail, c.note, string(c.reason), c.evidence, c.retry
	}
	return []any{ids, numbers, providers, codes, states, details, notes, reasons, retries, evidence}
}

// insertRetries adds the batches that changes have moved notifications to.
func (d *Delivery) insertRetries(ctx context.Context, tx pgx.Tx, e *endings, changes []change) error {
	used := map[kairos.ID]bool{}
	var batches []batch.Batch
	for _, c := range changes {
		if b := e.retries[c.retry]; b != nil && !used[c.retry] {
			used[c.retry] = true
			batches = append(batches, *b)
		}
	}
	_, err := batch.Insert(ctx, tx, batches...)
	return err
}

// settleUnopened writes what marking found of notifications without an attempt
// of ours, under the fence: whoever lost the batch has no say about them.
func (d *Delivery) settleUnopened(ctx context.Context, tx pgx.Tx, e *endings) ([]kairos.Event, error) {
	if err := batch.Hold(ctx, tx, e.fence.Ref); err != nil {
		if errors.Is(err, batch.ErrFenced) {
			return nil, nil
		}
		return nil, err
	}
	ids, reasons := make([]kairos.ID, len(e.skips)), make([]string, len(e.skips))
	people := make(map[kairos.ID]*recipient, len(e.skips))
	for i, p := range e.skips {
		ids[i], reasons[i], people[p.id] = p.id, string(p.reason), p
	}
	rows, err := tx.Query(ctx, `
		UPDATE notifications n SET state = 'skipped', reason = g.reason, done_at = $2
		FROM unnest($3::uuid[], $4::text[]) AS g(id, reason)
		WHERE n.id = g.id AND n.campaign = $1 AND n.state = 'planned' RETURNING n.id`, e.campaign, e.at, ids, reasons)
	if err != nil {
		return nil, fmt.Errorf("skip notifications: %w", err)
	}
	skipped, err := pgx.CollectRows(rows, pgx.RowTo[kairos.ID])
	if err != nil {
		return nil, fmt.Errorf("skip notifications: %w", err)
	}
	events := make([]kairos.Event, 0, len(skipped))
	for _, id := range skipped {
		events = append(events, e.skippedEvent(id, people[id].contact, people[id].reason))
	}
	if len(e.orphans) == 0 {
		return events, nil
	}
	return events, d.adopt(ctx, tx, e.campaign, e.orphans, e.at)
}

func (e *endings) skippedEvent(id, contact kairos.ID, reason kairos.Reason) kairos.Event {
	return kairos.Event{Kind: kairos.NotificationSkipped, OccurredAt: e.at, Campaign: e.campaign, Contact: contact,
		Notification: id, Ticket: e.ticket, Data: (&facts{Reason: string(reason)}).in(new([]byte))}
}

// eventsOf appends to out what the log is told of a change. That bytes left is
// told once, when the attempt leaves "sending".
func (e *endings) eventsOf(out []kairos.Event, room *[]byte, c change) []kairos.Event {
	base := kairos.Event{Key: strconv.Itoa(int(c.number)), OccurredAt: e.at, Campaign: e.campaign, Contact: c.contact, Notification: c.id, Ticket: e.ticket}
	tell := func(kind string, f facts) {
		f.Provider = c.provider
		out = append(out, base)
		ev := &out[len(out)-1]
		ev.Kind, ev.Data = kind, f.in(room)
	}
	if c.was == kairos.AttemptSending && (c.is == kairos.AttemptAccepted || c.is == kairos.AttemptUnknown) {
		tell(kairos.NotificationSent, facts{})
	}
	switch {
	case c.is == kairos.AttemptAccepted:
		tell(kairos.NotificationAccepted, facts{ProviderID: c.result.ProviderID, Code: c.result.Code, Evidence: c.evidence, Links: e.links})
	case c.is == kairos.AttemptUnknown:
		tell(kairos.NotificationUnknown, facts{Code: c.result.Code, Detail: c.result.Detail})
	case c.trigger >= tooOld: // told below
	case c.note == kairos.StateFailed:
		tell(kairos.NotificationRejected, facts{Code: c.result.Code, Detail: c.result.Detail, Reason: string(c.reason)})
	case c.note == kairos.StateSkipped:
		out = append(out, e.skippedEvent(c.id, c.contact, c.reason))
	}
	if c.trigger >= tooOld {
		f := c.by
		f.Choice, f.Reason = c.is, cmp.Or(f.Reason, string(c.reason))
		tell(kairos.NotificationResolved, f)
	}
	return out
}
