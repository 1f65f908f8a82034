package delivery

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"kairos"
	"kairos/internal/batch"
)

// ending is what is to be written about one attempt.
type ending struct {
	id, contact kairos.ID
	number      int32
	email       string // where it went, for a suppression
	provider    string
	trigger     trigger
	result      Result
	evidence    string        // what settled an unknown
	by          facts         // who chose and why, for an operator's choice
	note        string        // the notification's state afterwards
	reason      kairos.Reason // and its reason
	retry       kairos.ID     // the batch it is tried again in; zero: its present one, or not at all
}

// endings is everything a window, or what else ends attempts, has to write.
// It is fixed before the first try to write it, ids included, so that a
// repeat after an unclear commit writes nothing twice.
type endings struct {
	campaign kairos.ID
	ticket   kairos.ID
	kind     string // of the batches of what is tried again
	channel  kairos.Channel
	at       time.Time
	links    int // tracked links in each message; 0: not known here
	all      []ending
	retries  map[kairos.ID]*batch.Batch
	late     kairos.ID // batch for what turned out unsent after it had been given up

	fence   *batch.Claimed // guards what follows; nil: there is none of it
	skips   []*recipient
	orphans []kairos.ID
}

func endingsOf(b *batch.Claimed, now time.Time) *endings {
	return &endings{campaign: b.Campaign, ticket: b.Ticket, kind: b.Kind, channel: b.Channel, at: now, fence: b}
}

// endings decides what each try means for its notification. inTrouble: the
// provider as a whole failed, so what wasn't sent stays in its batch.
func (w *window) endings(tries []try, inTrouble bool) *endings {
	d, b := w.run.d, w.run.b
	now := d.clock.Now()
	e := endingsOf(b, now)
	if c := w.run.sheet.content; c != nil {
		e.links = len(c.Links)
	}
	e.skips, e.orphans = w.skips, w.orphans
	slots := map[time.Duration]kairos.ID{}
	again := func(p *recipient, delay time.Duration) kairos.ID {
		id, ok := slots[delay]
		if !ok {
			id = kairos.NewID()
			slots[delay] = id
		}
		e.retry(id, p.id, now.Add(delay))
		return id
	}
	for i, p := range w.open {
		t := &tries[i]
		end := ending{id: p.id, contact: p.contact, number: p.number, email: p.email, provider: w.route.Name(), result: t.result}
		switch {
		case t.reason != "":
			end.trigger, end.note, end.reason = neverSent, kairos.StateSkipped, t.reason
			end.result.Detail = t.detail
		case !t.started:
			end.trigger, end.note = neverSent, kairos.StatePlanned
		default:
			end.trigger = triggerOf(t.result.Outcome)
			state, _ := next(kairos.AttemptSending, end.trigger)
			end.note = follows(state)
			switch end.trigger {
			case replyPermanent:
				end.reason = kairos.ReasonRejected
				if t.result.BadAddress {
					end.reason = kairos.ReasonBadAddress
				}
			case replyTemporary:
				if int(p.tries)+1 >= d.opts.MaxTries {
					end.note, end.reason = kairos.StateFailed, kairos.ReasonTooManyTries
					break
				}
				end.retry = again(p, backoff(int(p.tries), t.result.RetryAfter))
			case neverSent:
				if !inTrouble {
					end.retry = again(p, backoff(int(p.number)-1, t.result.RetryAfter))
				}
			}
		}
		end.result.Detail = short(end.result.Detail)
		end.result.Code, end.result.ProviderID = short(end.result.Code), short(end.result.ProviderID)
		e.all = append(e.all, end)
	}
	e.sort()
	return e
}

// retry puts a notification into a batch that is inserted with the results.
func (e *endings) retry(id, notification kairos.ID, slot time.Time) {
	b := e.retries[id]
	if b == nil {
		if e.retries == nil {
			e.retries = map[kairos.ID]*batch.Batch{}
		}
		b = &batch.Batch{ID: id, Kind: e.kind, Campaign: e.campaign, Channel: e.channel, Priority: priorityOf(e.kind),
			Slot: slot, Lo: notification, Hi: notification, Ticket: e.ticket, Payload: retried{true}}
		e.retries[id] = b
	}
	if slices.Compare(notification[:], b.Lo[:]) < 0 {
		b.Lo = notification
	}
	if slices.Compare(notification[:], b.Hi[:]) > 0 {
		b.Hi = notification
	}
	b.Size++
}

// retried marks the batches whose people have attempts already.
type retried struct {
	Again bool `json:"again"`
}

func priorityOf(kind string) int16 {
	if kind == kairos.KindUrgent {
		return batch.Urgent
	}
	return batch.Normal
}

// sort puts the endings into the order in which everybody locks rows.
func (e *endings) sort() {
	slices.SortFunc(e.all, func(a, b ending) int {
		return cmp.Or(slices.Compare(a.id[:], b.id[:]), cmp.Compare(a.number, b.number))
	})
}

var steps = [...]time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour}

// backoff is how long to wait after the nth refusal, counted from 0; what the
// provider asked for counts when it is longer, up to a day.
func backoff(n int, asked time.Duration) time.Duration {
	return max(steps[min(max(n, 0), len(steps)-1)], min(asked.Round(time.Second), 24*time.Hour))
}

// short cuts foreign words to what the ledger keeps: 200 bytes of valid text.
func short(s string) string {
	s = strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "")
	if len(s) > 200 {
		s = strings.ToValidUTF8(s[:200], "")
	}
	return s
}
