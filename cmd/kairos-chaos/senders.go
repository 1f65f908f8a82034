package main

import (
	"fmt"
	"strconv"
	"syscall"
	"time"

	"kairos"
	"kairos/internal/rig"
	"kairos/internal/token"
)

// killSender: senders are killed in the middle of a campaign and others take
// over. What can't be known is called unknown, and is at most what was in
// flight; those who then open their mail resolve theirs.
func killSender(t *trial) {
	people, kills, senders := pick(t, 3000, 50_000), pick(t, 2, 100), pick(t, 2, 3)
	sink := t.smtp(pick(t, 50*time.Millisecond, 100*time.Millisecond))
	procs := t.usual(senders)
	t.audience(people)
	id := t.campaign(nil)
	// Those in doubt may never come, and count as well.
	done := func() int { return sink.Total() + t.count(`SELECT count(*) FROM attempts WHERE doubtful`) }
	for k := range kills {
		t.taken(done, people*(k+1)/(kills+2))
		victim := t.busy(procs)
		t.check(procs[victim].Kill())
		n := t.takeOver(time.Now(), heldBy, strconv.Itoa(procs[victim].PID))
		t.fault("kill -9 of a sender with %d batches, after %d messages", n, sink.Total())
		procs[victim] = t.serve(rolesSend)
	}
	t.proves(sink.Total() < people, "the campaign was over before the last kill")
	t.finished(id, 10*time.Minute)
	t.verify(sink.Recipients(), people, kills*t.inFlight, id)

	// Evidence: everybody in doubt who did get the mail opens it.
	before, opened := t.res.Unknown, 0
	for _, r := range t.rows(id) {
		if r.state == kairos.StateUnknown && sink.Accepted(r.email) > 0 {
			t.open(r)
			opened++
		}
	}
	t.until(time.Minute, func() string {
		if n := t.count(`SELECT count(*) FROM attempts WHERE doubtful`); n > before-opened {
			return fmt.Sprintf("%d of %d unknowns are left although %d people opened", n, before, opened)
		}
		return ""
	})
	t.res.Resolved += opened
	t.res.note("%d in doubt after the kills, %d of them had got the mail and their opening resolved it", before, opened)
	t.res.Unknown, t.res.Accepted = before-opened, t.res.Accepted+opened
}

// busy waits until one of the processes works on a batch, and returns its
// place: the death of an idle one would prove nothing. Of several it takes any.
func (t *trial) busy(procs []*rig.Process) (i int) {
	t.until(time.Minute, func() string {
		for _, i = range t.random.Perm(len(procs)) {
			if t.count(`SELECT count(*) FROM batches WHERE `+heldBy.which, strconv.Itoa(procs[i].PID)) > 0 {
				return ""
			}
		}
		return "nobody has anything to do"
	})
	return i
}

// open fetches the pixel of a person's message.
func (t *trial) open(r row) {
	t.check(t.api.Get(t.ctx, "/o/"+t.mint(token.Claims{Purpose: token.PurposeOpen, Campaign: r.campaign, Notification: r.id})+".gif", new(string)))
}

// mint makes a link's token like those in the messages.
func (t *trial) mint(c token.Claims) string {
	ring, err := token.ParseKeyring(secret)
	t.check(err)
	return ring.Mint(c)
}

// stopSender: senders are told to stop in mid-campaign; each ends in order, and
// nothing is in doubt.
func stopSender(t *trial) {
	people, stops := pick(t, 2500, 30_000), pick(t, 4, 100)
	sink := t.smtp(pick(t, 40*time.Millisecond, 60*time.Millisecond))
	procs := t.usual(2)
	t.audience(people)
	id := t.campaign(nil)
	for k := range stops {
		t.taken(sink.Total, people*(k+1)/(stops+2))
		i := t.busy(procs)
		began := time.Now()
		t.check(procs[i].Stop())
		t.fault("SIGTERM took %s, after %d messages", time.Since(began).Round(time.Millisecond), sink.Total())
		held := t.count(`SELECT count(*) FROM batches WHERE `+heldBy.which, strconv.Itoa(procs[i].PID))
		if held > 0 {
			t.breach("a sender that stopped in order holds %d batches", held)
		}
		procs[i] = t.serve(rolesSend)
	}
	t.proves(sink.Total() < people, "the campaign was over before the last stop")
	t.finished(id, 10*time.Minute)
	t.verify(sink.Recipients(), people, 0, id)
}

// freezeSender: a sender is stopped with work in its hands, wakes up when
// another has it, and must not act again. First it sleeps until the moment the
// other begins, then for much longer than its lease.
func freezeSender(t *trial) {
	people, rounds := pick(t, 1500, 20_000), pick(t, 1, 2)
	sink := t.smtp(pick(t, 60*time.Millisecond, 150*time.Millisecond))
	procs := t.usual(2)
	t.audience(people)
	id := t.campaign(nil)
	for k := range rounds {
		t.taken(sink.Total, people*(k+1)/(rounds+4))
		p := procs[t.busy(procs)]
		t.check(p.Signal(syscall.SIGSTOP))
		at := time.Now()
		pid := strconv.Itoa(p.PID)
		n := t.takeOver(at, heldBy, pid)
		t.fault("SIGSTOP of a sender with %d batches, after %d messages", n, sink.Total())
		var held []kairos.ID
		t.check(t.pool.QueryRow(t.ctx, `SELECT array_agg(id) FROM batches WHERE `+heldBy.which, pid).Scan(&held))
		t.until(time.Minute, func() string { // one of its batches is in other hands
			if t.count(`SELECT count(*) FROM batches WHERE id = ANY ($2) AND NOT (owner LIKE '%:' || $1 || ':%') AND state IN ('running', 'done')`, pid, held) == 0 {
				return "nobody took over"
			}
			return ""
		})
		if k > 0 {
			t.pause(time.Until(at.Add(120 * time.Second)))
		}
		t.pause(t.between(200*time.Millisecond, 600*time.Millisecond))
		t.check(p.Signal(syscall.SIGCONT))
		t.say("SIGCONT after %s and %d messages", time.Since(at).Round(time.Millisecond), sink.Total())
	}
	t.finished(id, 10*time.Minute)
	t.settled(sink.Total)
	t.verify(sink.Recipients(), people, rounds*t.inFlight, id)
}
