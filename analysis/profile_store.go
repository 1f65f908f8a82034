package analysis

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"kairos"
)

// profile takes a chunk's signs into people's profiles, within the transaction
// that moves the cursor; the chunk's journeys are stored. Whoever is no contact
// or was erased has none.
//
// Where chunks end matters in three small ways: a sign counts that was folded
// before the message it answers was known to have left (unless it came by the
// message's token), so does a click folded before the rest of a machine's
// burst, and an hour of a day before the newest that an earlier chunk counted.
func (a *Analysis) profile(ctx context.Context, tx pgx.Tx, c *chunk) error {
	if len(c.erased) > 0 {
		if _, err := tx.Exec(ctx, `DELETE FROM profiles WHERE contact = ANY ($1)`, c.erased); err != nil {
			return fmt.Errorf("forget profiles: %w", err)
		}
	}
	now, spans := a.clock.Now(), map[kairos.ID]span{}
	signs := c.signs[:0]
	for _, s := range c.signs {
		if s.own(now, a.opts.ResponseWindow) {
			signs = append(signs, s)
			spans[s.contact] = spans[s.contact].with(s.at)
		}
	}
	if len(signs) == 0 {
		return nil
	}
	sent, err := loadSendings(ctx, tx, spans, a.opts.ResponseWindow)
	if err != nil {
		return err
	}
	organic := signs[:0]
	var people []kairos.ID
	for _, s := range signs {
		if answers(s.at, sent[s.contact], a.opts.ResponseWindow) {
			continue
		}
		if organic = append(organic, s); spans[s.contact] != (span{}) {
			people = append(people, s.contact)
			delete(spans, s.contact)
		}
	}
	if len(organic) == 0 {
		return nil
	}
	profiles, err := a.loadProfiles(ctx, tx, people)
	if err != nil {
		return err
	}
	hours := make([]activeHour, 0, len(organic))
	for _, s := range organic {
		if p := profiles[s.contact]; p != nil {
			hours = append(hours, hourOf(s.contact, s.at, p.zone))
		}
	}
	var changed []*profile
	for _, h := range sortHours(hours) {
		p := profiles[h.contact]
		if p.add(h) && (len(changed) == 0 || changed[len(changed)-1] != p) {
			changed = append(changed, p)
		}
	}
	return storeProfiles(ctx, tx, changed)
}

// loadSendings returns when messages to people were sent whose response window
// meets the given spans.
func loadSendings(ctx context.Context, tx pgx.Tx, spans map[kairos.ID]span, window time.Duration) (map[kairos.ID][]int64, error) {
	contacts, since, until := make([]kairos.ID, 0, len(spans)), make([]time.Time, 0, len(spans)), make([]time.Time, 0, len(spans))
	for id, s := range spans {
		contacts, since, until = append(contacts, id), append(since, time.UnixMicro(s.from).Add(-window)), append(until, time.UnixMicro(s.to))
	}
	// OFFSET 0 keeps it a look-up for each person, whatever the planner knows of the table.
	rows, err := tx.Query(ctx, `
		SELECT u.contact, j.sent_at FROM unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[]) AS u(contact, since, until)
		CROSS JOIN LATERAL (SELECT sent_at FROM journeys
		                    WHERE contact = u.contact AND sent_at > u.since AND sent_at <= u.until OFFSET 0) j`,
		contacts, since, until)
	if err != nil {
		return nil, fmt.Errorf("load sendings: %w", err)
	}
	sent := map[kairos.ID][]int64{}
	var id kairos.ID
	var at time.Time
	_, err = pgx.ForEachRow(rows, []any{&id, &at}, func() error {
		sent[id] = append(sent[id], at.UnixMicro())
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load sendings: %w", err)
	}
	return sent, nil
}

// loadProfiles returns the profiles of those who are contacts, empty ones where
// there are none, each with the person's zone as it is now.
func (a *Analysis) loadProfiles(ctx context.Context, tx pgx.Tx, people []kairos.ID) (map[kairos.ID]*profile, error) {
	rows, err := tx.Query(ctx, `
		SELECT c.id, coalesce(c.timezone, ''), p.activity, p.seen_on, coalesce(p.hours, 0)
		FROM contacts c LEFT JOIN profiles p ON p.contact = c.id
		WHERE c.id = ANY ($1) AND c.erased_at IS NULL`, people)
	if err != nil {
		return nil, fmt.Errorf("load profiles: %w", err)
	}
	profiles, zones := make(map[kairos.ID]*profile, len(people)), map[string]*time.Location{}
	var row profile
	var zone string
	var seen *time.Time
	_, err = pgx.ForEachRow(rows, []any{&row.contact, &zone, &row.activity, &seen, &row.hours}, func() error {
		p := row
		if row.activity = nil; seen != nil {
			p.seen = seen.Unix() / 86_400
		}
		if p.zone = zones[zone]; p.zone == nil {
			p.zone = a.zone(zone)
			zones[zone] = p.zone
		}
		profiles[p.contact] = &p
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load profiles: %w", err)
	}
	return profiles, nil
}

// zone returns the zone of a name, the default one where there is none of it.
func (a *Analysis) zone(name string) *time.Location {
	if name == "" || name == "Local" {
		return a.opts.DefaultZone
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return a.opts.DefaultZone
	}
	return loc
}

func storeProfiles(ctx context.Context, tx pgx.Tx, profiles []*profile) error {
	if len(profiles) == 0 {
		return nil
	}
	n := len(profiles)
	contacts, days, hours := make([]kairos.ID, n), make([]time.Time, n), make([]int32, n)
	activity := make([]float32, 0, n*kairos.HoursPerDay) // row by row: arrays of arrays cannot be unnested
	for i, p := range profiles {
		contacts[i], days[i], hours[i] = p.contact, time.Unix(p.seen*86_400, 0).UTC(), p.hours
		activity = append(activity, p.activity...)
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO profiles (contact, activity, seen_on, hours)
		SELECT u.contact, ($2::real[])[(u.n - 1) * $5::int + 1 : u.n * $5::int], u.seen_on, u.hours
		FROM unnest($1::uuid[], $3::date[], $4::int[]) WITH ORDINALITY AS u(contact, seen_on, hours, n)
		ON CONFLICT (contact) DO UPDATE SET activity = excluded.activity, seen_on = excluded.seen_on, hours = excluded.hours`,
		contacts, activity, days, hours, kairos.HoursPerDay)
	if err != nil {
		return fmt.Errorf("store profiles: %w", err)
	}
	return nil
}
