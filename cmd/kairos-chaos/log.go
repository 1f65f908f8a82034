package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"kairos"
	"kairos/internal/rig"
	"kairos/internal/token"
)

// metric reads one gauge of a process.
func (t *trial) metric(server, name string) float64 {
	var text string
	t.check((&rig.Client{Server: server, Key: t.api.Key}).Get(t.ctx, "/metrics", &text))
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(line, name+" "); ok {
			f, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
			t.check(err)
			return f
		}
	}
	t.check(fmt.Errorf("there is no metric %s", name))
	return 0
}

// powerLoss runs the spool's own tests on a disk that loses what was not
// synced: a process can't lose the machine's power.
func powerLoss(t *trial) {
	n, err := t.goTest(t.ctx, "kairos/internal/spool", "TestPowerLossKeepsWhatWasAcknowledged|TestSyncReachesTheKernel|TestAcknowledgedOnlyAfterSync")
	t.check(err)
	t.proves(n == 3, "%d of 3 tests of the spool ran", n)
	t.res.Faults = n
	t.res.note("simulated: the spool's own tests, on files whose unsynced bytes vanish")
}

// daylightSaving: in every zone and at every change of its clocks each local
// time is resolved to the instant it is shown, to the first of two, or to the
// end of the gap.
func daylightSaving(t *trial) {
	zones, err := zoneNames()
	t.check(err)
	for _, name := range zones {
		loc, err := time.LoadLocation(name)
		t.check(err)
		at := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
		for end := at.AddDate(pick(t, 4, 30), 0, 0); ; {
			_, change := at.In(loc).ZoneBounds()
			if change.IsZero() || change.After(end) || at.After(end) {
				break
			}
			if !change.After(at) { // the time package errs in some zones' far future
				at = at.AddDate(0, 0, 1)
				continue
			}
			t.res.Faults++
			for minutes := -180; minutes <= 180; minutes += 15 {
				t.local(change.Add(time.Duration(minutes)*time.Minute), change, loc)
			}
			at = change.Add(time.Second)
		}
		t.res.Recipients++
	}
	t.res.Accepted = t.res.Recipients
	t.res.note("%d changes in %d zones", t.res.Faults, t.res.Recipients)
}

// local checks the wall-clock times around an instant.
func (t *trial) local(at, change time.Time, loc *time.Location) {
	at = at.In(loc)
	// A time that is shown: it resolves to itself, or to the first time it is shown.
	shown := kairos.ClockTime(at.Hour(), at.Minute())
	first := shown.Resolve(at.Year(), at.Month(), at.Day(), loc)
	same := first.In(loc)
	if same.Hour() != at.Hour() || same.Minute() != at.Minute() || same.Day() != at.Day() || first.After(at) {
		t.breach("%s: %s resolves to %s", loc, at, same)
	}
	// Walking from it, the next time it is shown is never earlier and within 25 hours and the gap.
	next := shown.Next(at, loc)
	if next.Before(at.Truncate(time.Minute)) || next.Sub(at) > 50*time.Hour {
		t.breach("%s: after %s comes %s", loc, at, next.In(loc))
	}
	// A time that is skipped resolves to the end of the gap.
	_, before := change.Add(-time.Second).In(loc).Zone()
	_, after := change.In(loc).Zone()
	if gap := time.Duration(after-before) * time.Second; gap > 0 && gap < 4*time.Hour {
		wall := change.Add(gap/2 - gap + gap).UTC().Add(time.Duration(before) * time.Second) // half-way through the gap, as the old offset shows it
		got := kairos.ClockTime(wall.Hour(), wall.Minute()).Resolve(wall.Year(), wall.Month(), wall.Day(), loc)
		if !got.Equal(change) {
			t.breach("%s: %s is skipped and resolves to %s, not to %s", loc, wall.Format("2006-01-02 15:04"), got.In(loc), change.In(loc))
		}
	}
}

// replay: what the fold built event by event, with its process killed on the
// way, is what a rebuild from the log makes.
func replay(t *trial) {
	people := pick(t, 1500, 20_000)
	sink := t.smtp(2 * time.Millisecond)
	t.serve(rolesFront)
	t.serve("creation,orchestration,delivery")
	folder := t.serve("analysis")
	t.audience(people)
	id := t.campaign(map[string]any{"goal": map[string]any{"kind": "payment.received", "attribution_window": "168h"}, "experiment": map[string]any{"holdout": 0.1}})
	for k := range pick(t, 2, 10) {
		t.taken(sink.Total, people*9/10*(k+1)/pick(t, 4, 12))
		t.check(folder.Kill())
		t.fault("kill -9 of the process that folds, after %d messages", sink.Total())
		folder = t.serve("analysis")
	}
	t.finished(id, 5*time.Minute)
	ring, err := token.ParseKeyring(secret)
	t.check(err)
	var hits []*hit
	for i, r := range t.rows(id) {
		if r.state != kairos.StateAccepted || i%3 > 0 {
			continue
		}
		c := token.Claims{Purpose: token.PurposeClick, Campaign: r.campaign, Notification: r.id, Link: uint16(i%3 + 1), Destination: destinations[i%3]}
		hits = append(hits, &hit{path: "/c/" + ring.Mint(c), notification: r.id, link: c.Link})
		if i%4 == 0 {
			key := fmt.Sprintf("order-%d", i)
			hits = append(hits, &hit{path: "/t/" + ring.Mint(c.Track()), key: key, notification: r.id, body: `{"kind":"payment.received","key":"` + key + `","amount":"1","currency":"EUR"}`})
		}
	}
	t.follow(hits, 400, func() []string { return []string{t.api.Server} })
	want := len(hits)
	t.until(time.Minute, func() string {
		if n := t.count(`SELECT count(*) FROM events WHERE kind IN ('notification.clicked', 'payment.received')`); n < want {
			return fmt.Sprintf("%d of %d hits are in the log", n, want)
		}
		if t.count(`SELECT count(*) FROM (SELECT FROM events WHERE (xid, position) > (coalesce((SELECT xid FROM event_cursors WHERE reader = 'analysis.fold'), '0'::xid8),
			coalesce((SELECT position FROM event_cursors WHERE reader = 'analysis.fold'), 0)) LIMIT 1) x`) > 0 {
			return "the fold is behind"
		}
		return ""
	})
	t.check(folder.Stop())
	before := t.folded()
	t.command(nil, "replay")
	after := t.folded()
	for table, n := range before {
		t.proves(table == "conversions" || n[0] != "0", "%s is empty", table)
		if after[table] != n {
			t.breach("%s differs: %s rows, hash %s; rebuilt %s rows, hash %s", table, n[0], n[1], after[table][0], after[table][1])
		}
		t.res.note("%s: %s rows", table, n[0])
	}
	t.verify(sink.Recipients(), people, 0, id)
}

// folded is the number of rows and a hash of each table that a rebuild makes.
func (t *trial) folded() map[string][2]string {
	all := map[string][2]string{}
	for _, table := range []string{"journeys", "actions", "rollups", "arms", "revenue", "conversions"} {
		var n, hash string
		t.check(t.pool.QueryRow(t.ctx, `SELECT count(*)::text, coalesce(md5(string_agg(x::text, E'\n' ORDER BY x::text)), '') FROM `+table+` x`).Scan(&n, &hash))
		all[table] = [2]string{n, hash}
	}
	return all
}
