package delivery

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"kairos"
)

// live reports whether an attempt in this state forbids another one.
func live(state string) bool {
	return state == kairos.AttemptSending || state == kairos.AttemptUnknown || state == kairos.AttemptAccepted
}

// TestOutOfLive: nothing but proof, age or a person ends a live attempt, and
// nothing revives one that isn't.
func TestOutOfLive(t *testing.T) {
	for state, by := range moves {
		require.True(t, live(state), state)
		for by, to := range by {
			if !live(to) {
				require.Contains(t, []trigger{replyTemporary, replyPermanent, neverSent, tooOld, operatorAbandons, operatorResends}, by, "%s -%s-> %s", state, by, to)
			}
		}
	}
	require.NotContains(t, moves, kairos.AttemptAccepted, "accepted is final")
	for o, want := range map[Outcome]trigger{Unknown: noReply, Accepted: replyAccepted, RejectedTemp: replyTemporary, RejectedPerm: replyPermanent, NotSent: neverSent, 99: noReply} {
		require.Equal(t, want, triggerOf(o))
	}
}

// call is one sender's business with one attempt in the model below.
type call struct {
	number  int
	started bool
	reply   trigger // what the outside world did, once started
	told    bool    // the sender wrote its result down, or died
}

// model is one notification, its ledger and the outside world: any number of
// senders that may stop at any point, a provider, a reconciler, evidence that
// is true, and operators.
type model struct {
	attempts []string // by number - 1
	note     string
	calls    []*call
	accepted int // calls the provider accepted
	forced   int
}

func (m *model) apply(number int, by trigger) {
	state := m.attempts[number-1]
	to, ok := next(state, by)
	if !ok {
		return
	}
	m.attempts[number-1] = to
	m.note = follows(to)
	if to == kairos.AttemptResendForced {
		m.forced++
	}
}

// TestAnyInterleaving: whatever happens in whatever order, the identity holds.
func TestAnyInterleaving(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{note: kairos.StatePlanned}
		pick := func(ok func(*call) bool) *call {
			var some []*call
			for _, c := range m.calls {
				if ok(c) {
					some = append(some, c)
				}
			}
			if len(some) == 0 {
				t.Skip("nobody")
			}
			return rapid.SampledFrom(some).Draw(t, "call")
		}
		// Without an attempt these do nothing: a machine whose steps are nearly all
		// skipped gives up now and then.
		some := func(why trigger) {
			if len(m.attempts) > 0 {
				m.apply(rapid.IntRange(1, len(m.attempts)).Draw(t, "attempt"), why)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"mark": func(t *rapid.T) { // the index refuses a second live attempt
				for _, s := range m.attempts {
					if live(s) {
						t.Skip("one is live")
					}
				}
				if m.note != kairos.StatePlanned {
					t.Skip("not planned")
				}
				m.attempts = append(m.attempts, kairos.AttemptSending)
				m.calls = append(m.calls, &call{number: len(m.attempts)})
			},
			"start": func(t *rapid.T) { // also long after its lease
				c := pick(func(c *call) bool { return !c.started && !c.told })
				c.started = true
				c.reply = rapid.SampledFrom([]trigger{replyAccepted, replyTemporary, replyPermanent, neverSent, noReply}).Draw(t, "reply")
				if c.reply == replyAccepted || c.reply == noReply && rapid.Bool().Draw(t, "arrived") {
					m.accepted++
				}
			},
			"tell": func(t *rapid.T) {
				c := pick(func(c *call) bool { return c.started && !c.told })
				c.told = true
				m.apply(c.number, c.reply)
			},
			"give up unstarted": func(t *rapid.T) {
				c := pick(func(c *call) bool { return !c.started && !c.told })
				c.told = true // it will never start it: that is the proof
				m.apply(c.number, neverSent)
			},
			"silence": func(*rapid.T) { some(senderSilent) },
			"age":     func(*rapid.T) { some(tooOld) },
			"accept":  func(*rapid.T) { some(operatorAccepts) },
			"abandon": func(*rapid.T) { some(operatorAbandons) },
			"resend":  func(*rapid.T) { some(operatorResends) },
			"evidence": func(t *rapid.T) {
				m.apply(pick(func(c *call) bool { return c.started && c.reply == replyAccepted }).number, evidenceSeen)
			},
			"": func(t *rapid.T) {
				alive := 0
				for _, s := range m.attempts {
					if live(s) {
						alive++
					}
				}
				if alive > 1 {
					t.Fatalf("%d live attempts: %v", alive, m.attempts)
				}
				if m.accepted > 1+m.forced {
					t.Fatalf("%d accepted calls, %d forced: %v", m.accepted, m.forced, m.attempts)
				}
				if alive == 0 && len(m.attempts) > 0 && live(m.note) {
					t.Fatalf("%s without a live attempt: %v", m.note, m.attempts)
				}
				if alive == 1 && m.note == kairos.StateFailed {
					t.Fatal("failed with a live attempt")
				}
			},
		})
	})
}

func TestTriggerNames(t *testing.T) {
	seen := map[string]bool{}
	for i := replyAccepted; i <= operatorResends; i++ {
		name := fmt.Sprint(i)
		require.NotEmpty(t, name)
		require.False(t, seen[name])
		seen[name] = true
	}
}
