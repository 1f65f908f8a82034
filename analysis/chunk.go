package analysis

import (
	"context"

	"github.com/jackc/pgx/v5"

	"kairos"
)

// chunk is the state that some events touch.
type chunk struct {
	events []kairos.Event
	of     []*journey             // whose each event is; nil: nobody's
	now    map[kairos.ID]*journey // by notification, also those that nobody planned
	list   []*journey             // the same, but only those known
	others map[kairos.ID]*journey // of the same people, unchanged
	acts   []action               // new ones
	rules  map[kairos.ID]*rules   // by campaign
	signs  []sign                 // of people's own activity, unless it answers a message
	erased []kairos.ID            // people

	steps map[groupKey]*[counted]count
	sums  map[creditKey]credit
	arms  map[armKey]*armMove

	slab []journey // where new ones are kept, many in one piece
}

// groupKey is what steps are counted by.
type groupKey struct {
	campaign kairos.ID
	arm      kairos.Arm
	channel  kairos.Channel
}

func newChunk(events []kairos.Event) *chunk {
	return &chunk{
		events: events, of: make([]*journey, len(events)), now: make(map[kairos.ID]*journey, len(events)), others: map[kairos.ID]*journey{},
		rules: map[kairos.ID]*rules{}, steps: map[groupKey]*[counted]count{}, sums: map[creditKey]credit{}, arms: map[armKey]*armMove{},
	}
}

// journey returns room for one.
func (c *chunk) journey() *journey {
	if len(c.slab) == 0 {
		c.slab = make([]journey, 128)
	}
	j := &c.slab[0]
	c.slab = c.slab[1:]
	return j
}

// lookups keeps each statement of a transaction a look-up by key for each row. A
// plan made while a table was small reads all of it, and is kept when it has
// grown; one that knows how long its lists are reads all of a table to join it.
const lookups = `SELECT set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true),
	set_config('enable_mergejoin', 'off', true), set_config('plan_cache_mode', 'force_generic_plan', true)`

// fold takes events in, within the transaction that moves the cursor.
func (a *Analysis) fold(ctx context.Context, tx pgx.Tx, events []kairos.Event) error {
	c := newChunk(events)
	if _, err := tx.Exec(ctx, lookups); err != nil {
		return err
	}
	if err := a.loadJourneys(ctx, tx, c); err != nil {
		return err
	}
	c.apply(a.confirming)
	for _, j := range c.list {
		if j.touched {
			c.count(j.was(), -1)
			c.count(j, 1)
		}
	}
	if err := a.credit(ctx, tx, c); err != nil {
		return err
	}
	if err := storeActions(ctx, tx, c.acts); err != nil {
		return err
	}
	if err := storeJourneys(ctx, tx, c.list); err != nil {
		return err
	}
	accounts, err := loadAccounts(ctx, tx, c)
	if err != nil {
		return err
	}
	c.respond(accounts)
	if err := storeCredits(ctx, tx, c, accounts); err != nil {
		return err
	}
	if err := a.profile(ctx, tx, c); err != nil {
		return err
	}
	if err := storeArms(ctx, tx, c.arms); err != nil {
		return err
	}
	return storeRollups(ctx, tx, c.steps)
}

// apply takes the events into the journeys and the list of actions.
func (c *chunk) apply(confirming map[string]bool) {
	for i := range c.events {
		e, j := &c.events[i], c.of[i]
		d := detailOf(e)
		if j != nil && !j.known {
			j = nil
		}
		if j != nil {
			if j.before == nil {
				j.before = c.journey()
				*j.before = *j
				j.before.facts, j.before.read = j.facts.clone(), false
			}
			if j.facts.add(e, &d, confirming) {
				j.touched, j.read = true, false
			}
		}
		act, ok := actionOf(e, &d)
		if s, may := signOf(e, &d, j, ok); may {
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
}

// count adds a journey's steps, sign times.
func (c *chunk) count(j *journey, sign int64) {
	v := j.reading()
	if v.times == ([counted]int32{}) {
		return
	}
	group := c.group(j)
	for i, n := range v.times {
		if n != 0 {
			group[i] = group[i].plus(of(int(n)), sign)
		}
	}
}

func (c *chunk) group(j *journey) *[counted]count {
	key := groupKey{j.campaign, j.arm, j.channel}
	group := c.steps[key]
	if group == nil {
		group = &[counted]count{}
		c.steps[key] = group
	}
	return group
}

// credit settles the actions that are new and those within reach of a journey
// whose reach changed: once as things were, with a minus, and once as they are.
func (a *Analysis) credit(ctx context.Context, tx pgx.Tx, c *chunk) error {
	moved := map[kairos.ID]span{} // by contact
	byTouch := false
	for _, j := range c.list {
		byTouch = byTouch || j.rules.byTouch()
		if !j.touched {
			continue
		}
		old, now := j.was().reading(), j.reading()
		if old.sameReach(now) {
			continue
		}
		s := moved[j.contact]
		for _, v := range [...]*reading{old, now} {
			if v.until != 0 {
				s = s.with(earliest(v.start, v.sent)).with(v.until)
			}
		}
		if s != (span{}) {
			moved[j.contact] = s
		}
	}
	known, err := loadActions(ctx, tx, moved)
	if err != nil {
		return err
	}
	earns, err := earning(ctx, tx, known, c.acts)
	if err != nil {
		return err
	}
	spans := map[kairos.ID]span{}
	was, is := map[kairos.ID][]action{}, map[kairos.ID][]action{}
	for _, act := range known {
		if earns(&act) {
			was[act.contact] = append(was[act.contact], act)
			is[act.contact] = append(is[act.contact], act)
			spans[act.contact] = spans[act.contact].with(act.at)
		}
	}
	for _, act := range c.acts {
		if earns(&act) {
			is[act.contact] = append(is[act.contact], act)
			spans[act.contact] = spans[act.contact].with(act.at)
		}
	}
	if len(spans) == 0 && !byTouch {
		return nil
	}
	if err := a.loadOthers(ctx, tx, c, spans); err != nil {
		return err
	}
	before, now := map[kairos.ID][]*journey{}, map[kairos.ID][]*journey{}
	for _, j := range c.list {
		if _, acted := spans[j.contact]; acted || j.rules.byTouch() {
			now[j.contact], before[j.contact] = append(now[j.contact], j), append(before[j.contact], j.was())
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
