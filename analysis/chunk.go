package analysis

import (
	"context"

	"github.com/jackc/pgx/v5"

	"kairos"
)

// chunk is the state that some events touch.
type chunk struct {
	now    map[kairos.ID]*journey // by notification, as it will be
	before map[kairos.ID]*journey // as it was; nil: there was none
	others map[kairos.ID]*journey // of the same people, unchanged
	acts   []action               // new ones
	rules  map[kairos.ID]*rules   // by campaign
	signs  []sign                 // of people's own activity, unless it answers a message
	erased []kairos.ID            // people

	steps map[rollupKey]count
	sums  map[creditKey]credit
}

type rollupKey struct {
	campaign kairos.ID
	arm      kairos.Arm
	channel  kairos.Channel
	step     string
}

// fold takes events in, within the transaction that moves the cursor.
func (a *Analysis) fold(ctx context.Context, tx pgx.Tx, events []kairos.Event) error {
	c := &chunk{
		now: map[kairos.ID]*journey{}, before: map[kairos.ID]*journey{}, others: map[kairos.ID]*journey{},
		rules: map[kairos.ID]*rules{}, steps: map[rollupKey]count{}, sums: map[creditKey]credit{},
	}
	// A plan made while a table was small reads all of it, and is kept when it has grown.
	if _, err := tx.Exec(ctx, `SET LOCAL enable_seqscan = off`); err != nil {
		return err
	}
	if err := a.loadJourneys(ctx, tx, c, events); err != nil {
		return err
	}
	touched := c.apply(events, a.confirming)
	changed := make([]*journey, 0, len(touched))
	for id := range touched {
		changed = append(changed, c.now[id])
		c.count(c.before[id], -1)
		c.count(c.now[id], 1)
	}
	if err := a.credit(ctx, tx, c, touched); err != nil {
		return err
	}
	if err := storeActions(ctx, tx, c.acts); err != nil {
		return err
	}
	if err := storeJourneys(ctx, tx, changed); err != nil {
		return err
	}
	if err := storeCredits(ctx, tx, c); err != nil {
		return err
	}
	if err := a.profile(ctx, tx, c); err != nil {
		return err
	}
	return storeRollups(ctx, tx, c.steps)
}

// apply takes the events into the journeys and the list of actions; it returns
// the notifications whose journeys changed.
func (c *chunk) apply(events []kairos.Event, confirming map[string]bool) map[kairos.ID]bool {
	touched := map[kairos.ID]bool{}
	for i := range events {
		e := &events[i]
		j := c.now[e.Notification]
		if j != nil {
			if _, saved := c.before[e.Notification]; !saved {
				old := *j
				old.facts = j.facts.clone()
				c.before[e.Notification] = &old
			}
			if j.apply(e, confirming) {
				touched[e.Notification] = true
			}
		}
		act, ok := actionOf(e)
		if s, may := signOf(e, j, ok); may {
			c.signs = append(c.signs, s)
		}
		if e.Kind == kairos.ContactErased {
			c.erased = append(c.erased, e.Contact)
		}
		if ok {
			if j != nil {
				act.contact = j.contact
			}
			if !act.contact.IsZero() {
				c.acts = append(c.acts, act)
			}
		}
	}
	return touched
}

// count adds a journey's steps, sign times; nil counts nothing.
func (c *chunk) count(j *journey, sign int64) {
	if j == nil {
		return
	}
	steps := countedSteps()
	for i, n := range j.reading().counts {
		if n != (count{}) {
			c.step(j, steps[i], count{sign * n.uniques, sign * n.total})
		}
	}
}

func (c *chunk) step(j *journey, step string, n count) {
	key := rollupKey{j.campaign, j.arm, j.channel, step}
	old := c.steps[key]
	c.steps[key] = count{old.uniques + n.uniques, old.total + n.total}
}

// credit settles the actions that are new and those within reach of a journey
// whose reach changed: once as things were, with a minus, and once as they are.
func (a *Analysis) credit(ctx context.Context, tx pgx.Tx, c *chunk, touched map[kairos.ID]bool) error {
	moved := map[kairos.ID]span{} // by contact
	for id := range touched {
		old, now := c.before[id].reading(), c.now[id].reading()
		if old.sameReach(now) {
			continue
		}
		s := moved[c.now[id].contact]
		for _, v := range []*reading{old, now} {
			if v.until != 0 {
				s = s.with(earliest(v.start, v.sent)).with(v.until)
			}
		}
		if s != (span{}) {
			moved[c.now[id].contact] = s
		}
	}
	known, err := loadActions(ctx, tx, moved)
	if err != nil {
		return err
	}
	spans := map[kairos.ID]span{}
	was, is := map[kairos.ID][]action{}, map[kairos.ID][]action{}
	for _, act := range known {
		was[act.contact] = append(was[act.contact], act)
		is[act.contact] = append(is[act.contact], act)
		spans[act.contact] = spans[act.contact].with(act.at)
	}
	for _, act := range c.acts {
		is[act.contact] = append(is[act.contact], act)
		spans[act.contact] = spans[act.contact].with(act.at)
	}
	if err := a.loadOthers(ctx, tx, c, spans); err != nil {
		return err
	}
	before, now := map[kairos.ID][]*journey{}, map[kairos.ID][]*journey{}
	for id, j := range c.now {
		now[j.contact] = append(now[j.contact], j)
		if old := c.before[id]; old != nil {
			before[j.contact] = append(before[j.contact], old)
		} else {
			before[j.contact] = append(before[j.contact], j)
		}
	}
	for _, j := range c.others {
		now[j.contact], before[j.contact] = append(now[j.contact], j), append(before[j.contact], j)
	}
	for contact, journeys := range now {
		settle(before[contact], was[contact], -1, c.sums)
		settle(journeys, is[contact], 1, c.sums)
	}
	for key, s := range c.sums {
		if s == (credit{}) {
			delete(c.sums, key)
		}
	}
	return nil
}

// span is a stretch of time in microseconds; the zero span is none.
type span struct{ from, to int64 }

func (s span) with(at int64) span {
	return span{earliest(s.from, at), max(s.to, at)}
}
