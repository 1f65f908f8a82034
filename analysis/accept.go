package analysis

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"kairos"
	"kairos/internal/eventlog"
)

// validText reports whether Postgres can hold s.
func validText(s string) bool { return utf8.ValidString(s) && !strings.Contains(s, "\x00") }

// check names the first thing for which an event cannot enter the log. now is
// left out: a collector's clock is its own affair.
func check(e *kairos.Event) error {
	switch {
	case !kairos.ValidKind(e.Kind):
		return kairos.Invalid("kind", "must be lower-case words joined by dots, at most %d bytes", kairos.MaxKind)
	case e.OccurredAt.IsZero():
		return kairos.Invalid("occurred_at", "is missing")
	case e.OccurredAt.Year() < 1970 || e.OccurredAt.Year() > 9999:
		return kairos.Invalid("occurred_at", "is out of range")
	case len(e.Key) > kairos.MaxKey || !validText(e.Key):
		return kairos.Invalid("key", "must be text of at most %d bytes", kairos.MaxKey)
	case len(e.Data) > kairos.MaxData:
		return kairos.Invalid("data", "is longer than %d bytes", kairos.MaxData)
	}
	if len(e.Data) == 0 {
		return nil
	}
	if string(e.Data) == "null" {
		e.Data = nil
		return nil
	}
	if e.Data[0] != '{' || !json.Valid(e.Data) || !utf8.Valid(e.Data) || strings.Contains(string(e.Data), `\u0000`) {
		return kairos.Invalid("data", "must be a JSON object without NUL characters")
	}
	if kairos.JSONDepth(e.Data) > kairos.MaxDepth {
		return kairos.Invalid("data", "is nested more than %d deep", kairos.MaxDepth)
	}
	return nil
}

// bucketKey is the key of a hit that has none: alike hits in the same span of
// time are one event. Hits differ when their data does (another link).
func (a *Analysis) bucketKey(e *kairos.Event) string {
	h := fnv.New64a()
	_, _ = h.Write(e.Data) // never fails
	return strconv.FormatInt(e.OccurredAt.UnixNano()/int64(a.opts.Bucket), 36) + "." + hex.EncodeToString(h.Sum(nil))
}

// fill completes hits from the database, set by set: campaign and contact of
// the notification, the contact of an external id, the key of those without
// one. It returns for each hit whether what it names exists.
func (a *Analysis) fill(ctx context.Context, tx pgx.Tx, hits []kairos.Hit) ([]bool, error) {
	var ids, campaigns []kairos.ID
	var names []string
	for i := range hits {
		e := &hits[i].Event
		switch {
		case !e.Notification.IsZero():
			ids, campaigns = append(ids, e.Notification), append(campaigns, e.Campaign)
		case e.Contact.IsZero() && hits[i].ExternalID != "" && validText(hits[i].ExternalID):
			names = append(names, hits[i].ExternalID)
		}
	}
	known, err := recipients(ctx, tx, ids, campaigns)
	if err != nil {
		return nil, err
	}
	people, err := contactsByExternalID(ctx, tx, names)
	if err != nil {
		return nil, err
	}
	resolved := make([]bool, len(hits))
	for i := range hits {
		e := &hits[i].Event
		r, found := known[e.Notification]
		switch {
		case found:
			e.Campaign, e.Contact = r.campaign, r.contact
		case e.Notification.IsZero() && e.Contact.IsZero() && hits[i].ExternalID != "":
			e.Contact = people[hits[i].ExternalID]
			found = !e.Contact.IsZero()
		default:
			found = e.Notification.IsZero()
		}
		resolved[i] = found
		if e.Key == "" {
			hits[i].Keyed, e.Key = false, a.bucketKey(e)
		}
		if e.Subject.IsZero() && hits[i].Keyed && !reserved(e.Kind) {
			e.Subject = e.Contact // one order is one payment, by whichever way it is told
		}
		e.Subject = e.About()
	}
	return resolved, nil
}

// put appends hits to the log and returns how many were new.
func put(ctx context.Context, tx pgx.Tx, hits []kairos.Hit) (int64, error) {
	var keyed, plain []kairos.Event
	for i := range hits {
		if hits[i].Keyed {
			keyed = append(keyed, hits[i].Event)
		} else {
			plain = append(plain, hits[i].Event)
		}
	}
	n, err := eventlog.Append(ctx, tx, plain...)
	if err != nil {
		return 0, err
	}
	m, err := eventlog.AppendKeyed(ctx, tx, keyed...)
	return n + m, err
}

// refused reports whether Postgres turned the content down, so that a repeat
// is in vain: data exceptions, violated constraints, exceeded limits.
func refused(err error) bool {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) || len(pgErr.Code) != 5 {
		return false
	}
	switch pgErr.Code[:2] {
	case "22", "23", "54":
		return true
	}
	return false
}

// enter moves hits into the log, in one transaction as long as Postgres takes
// all of them; where it turns content down, the halves are tried apart until
// the bad one stands alone. It returns the number of new events and the error
// of each hit that was refused. resolved may be nil.
func (a *Analysis) enter(ctx context.Context, hits []kairos.Hit, resolved []bool) (fresh int64, bad map[int]error, err error) {
	err = pgx.BeginFunc(ctx, a.pool, func(tx pgx.Tx) error {
		// What we answer for must be on disk: the hit's other copy goes next.
		_, err := tx.Exec(ctx, `
			SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'
			UNION ALL SELECT set_config('enable_seqscan', 'off', true)`)
		if err != nil {
			return err
		}
		found, err := a.fill(ctx, tx, hits)
		if err != nil {
			return err
		}
		copy(resolved, found)
		fresh, err = put(ctx, tx, hits)
		return err
	})
	if err == nil {
		return fresh, nil, nil
	}
	if !refused(err) {
		return 0, nil, fmt.Errorf("enter events: %w", err)
	}
	if len(hits) == 1 {
		return 0, map[int]error{0: err}, nil
	}
	half := len(hits) / 2
	bad = map[int]error{}
	fresh = 0
	for _, from := range []int{0, half} {
		to := half
		if from == half {
			to = len(hits)
		}
		var part []bool
		if resolved != nil {
			part = resolved[from:to]
		}
		n, errs, err := a.enter(ctx, hits[from:to], part)
		if err != nil {
			return 0, nil, err
		}
		fresh += n
		for i, e := range errs {
			bad[from+i] = e
		}
	}
	return fresh, bad, nil
}
