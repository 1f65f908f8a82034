package main

import (
	"cmp"
	"fmt"
	"time"

	"kairos"
)

// promised is how soon the work of a dead process goes on.
const promised = 15 * time.Second

// row is one person of a campaign as the ledger has it.
type row struct {
	id, campaign                    kairos.ID
	email, state                    string
	live, sending, forced, attempts int
	evidence                        bool
}

func (t *trial) rows(campaign string) []row {
	q, err := t.pool.Query(t.ctx, `
		SELECT n.id, n.campaign, lower(c.email), n.state, a.live, a.sending, a.forced, a.n, a.evidence
		FROM notifications n JOIN contacts c ON c.id = n.contact
		CROSS JOIN LATERAL (SELECT count(*) FILTER (WHERE live) AS live, count(*) FILTER (WHERE state = 'sending') AS sending,
			count(*) FILTER (WHERE state = 'resend_forced') AS forced, count(*) AS n, coalesce(bool_or(evidence IS NOT NULL), false) AS evidence
			FROM attempts a WHERE a.notification = n.id AND a.campaign = n.campaign) a
		WHERE n.campaign = $1`, campaign)
	t.check(err)
	defer q.Close()
	var all []row
	for q.Next() {
		var r row
		t.check(q.Scan(&r.id, &r.campaign, &r.email, &r.state, &r.live, &r.sending, &r.forced, &r.attempts, &r.evidence))
		all = append(all, r)
	}
	t.check(q.Err())
	return all
}

// verify compares the ledger of campaigns, each to the same people, with what
// an independent counter took. doubts is how many unknowns the faults may have
// left.
func (t *trial) verify(got map[string]int, people, doubts int, campaigns ...string) {
	type person struct{ rows, accepted, unknown, forced int }
	all := map[string]*person{}
	sending, double := 0, 0
	for _, c := range campaigns {
		rows := t.rows(c)
		if len(rows) != people {
			t.res.Missing += max(0, people-len(rows))
			t.breach("%d people were planned, not %d", len(rows), people)
		}
		for _, r := range rows {
			p := all[r.email]
			if p == nil {
				p = &person{}
				all[r.email] = p
			}
			p.rows++
			p.forced += r.forced
			sending += r.sending
			if r.live > 1 {
				double++
			}
			if r.evidence {
				t.res.Resolved++
			}
			switch r.state {
			case kairos.StateAccepted:
				p.accepted++
				t.res.Accepted++
			case kairos.StateUnknown:
				p.unknown++
				t.res.Unknown++
			case kairos.StatePlanned:
				t.res.Missing++ // neither final nor unknown
			}
		}
	}
	for email, n := range got {
		p := all[email]
		if p == nil {
			t.breach("%d messages for a stranger", n)
			continue
		}
		t.res.Duplicates += max(0, n-p.rows-p.forced)
		if n <= p.rows+p.forced && n > p.accepted+p.unknown+p.forced {
			t.res.Missing++
			t.breach("the counter took a message that the ledger denies")
		}
	}
	for email, p := range all {
		if lost := p.accepted - got[email]; lost > 0 {
			t.res.Missing += lost
			t.breach("accepted, says the ledger, and the counter never saw it")
		}
	}
	if sending > 0 {
		t.breach("%d attempts are still open", sending)
	}
	if double > 0 {
		t.breach("%d people have two live attempts", double)
	}
	t.res.Allowed += doubts
}

// judge turns figures into broken promises.
func (t *trial) judge() {
	r := t.res
	if r.Skipped != "" {
		return
	}
	if r.Duplicates > 0 {
		t.breach("%d duplicates", r.Duplicates)
	}
	if r.Missing > 0 {
		t.breach("%d missing", r.Missing)
	}
	if r.Unknown > r.Allowed {
		t.breach("%d unknown, at most %d can have been in flight", r.Unknown, r.Allowed)
	}
	if len(r.Resumed) > 0 {
		r.note("somebody worked on the last of its batches again after %s at p99", percentile(r.Resumed).Round(100*time.Millisecond))
	}
	if p99 := r.takeOver(); p99 > promised {
		t.breach("take-over after %s", p99.Round(time.Millisecond))
	}
}

// fault counts one and says so.
func (t *trial) fault(format string, args ...any) {
	t.res.Faults++
	t.say("fault %d: %s", t.res.Faults, fmt.Sprintf(format, args...))
}

// took notes how long work stood still: until it was issued again, and until it
// was gone on with.
func (t *trial) took(issued, resumed time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.res.TakeOvers = append(t.res.TakeOvers, issued)
	t.res.Resumed = append(t.res.Resumed, resumed)
}

// watched are batches whose work stands still: which; while what is true of
// them nobody has taken them from whoever had them; and while what is true
// they wait for somebody to be free.
type watched struct{ which, still, waiting string }

var (
	// Those a dead process worked on.
	heldBy = watched{
		`state = 'running' AND owner LIKE '%:' || $1 || ':%'`,
		`b.epoch = w.epoch AND b.state = 'running' AND b.owner LIKE '%:' || $1 || ':%'`,
		`b.state IN ('planned', 'queued')`,
	}
	// Those whose doorbell is lost: it has to be rung again.
	rungFor = watched{`state = 'queued' AND $1 = ''`, `b.epoch = w.epoch AND b.state = 'queued' AND $1 = ''`, `false`}
)

// takeOver watches, beside the scenario, until the last of the batches has been
// issued again, and until somebody works on it or it is over, and returns how
// many they are.
func (t *trial) takeOver(since time.Time, what watched, argument string) (batches int) {
	var ids []kairos.ID
	var epochs []int32
	err := t.pool.QueryRow(t.ctx, `SELECT array_agg(id), array_agg(epoch) FROM batches WHERE `+what.which, argument).Scan(&ids, &epochs)
	t.check(err)
	if len(ids) == 0 {
		return 0
	}
	t.watching.Go(func() {
		var issued time.Duration
		for t.ctx.Err() == nil && time.Since(since) < 5*time.Minute {
			var still, waiting int
			err := t.pool.QueryRow(t.ctx, `SELECT count(*) FILTER (WHERE `+what.still+`), count(*) FILTER (WHERE `+what.waiting+`)
				FROM unnest($2::uuid[], $3::int[]) AS w(id, epoch) JOIN batches b USING (id)`, argument, ids, epochs).Scan(&still, &waiting)
			if err == nil && still == 0 && issued == 0 {
				issued = time.Since(since)
			}
			if err == nil && still+waiting == 0 {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		t.took(cmp.Or(issued, time.Since(since)), time.Since(since))
	})
	return len(ids)
}
