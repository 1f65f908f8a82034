package main

import (
	"time"
)

// postgresRestart: Postgres dies like a crash in the middle of a campaign and
// comes back, again and again. What was being committed just then has an
// outcome that its writer must read again.
func postgresRestart(t *trial) {
	people, stops, senders := pick(t, 3000, 40_000), pick(t, 4, 50), 2
	sink := t.smtp(pick(t, 12*time.Millisecond, 60*time.Millisecond))
	t.usual(senders)
	t.audience(people)
	id := t.campaign(nil)
	for i := range stops {
		t.taken(sink.Total, people*(i+1)/(stops+3))
		t.pause(t.between(0, 200*time.Millisecond))
		t.check(t.stack.Postgres.Stop(true))
		t.fault("Postgres is gone after %d messages", sink.Total())
		t.pause(t.between(0, pick(t, time.Second, 4*time.Second)))
		at := sink.Total()
		t.check(t.stack.Postgres.Start(t.ctx))
		back := time.Now()
		t.pool.Reset()
		t.resumed(back, sink.Total, at)
	}
	t.proves(sink.Total() < people, "the campaign was over before the last stop")
	t.finished(id, 10*time.Minute)
	t.settled(sink.Total)
	t.verify(sink.Recipients(), people, stops*senders*t.inFlight, id)
}
