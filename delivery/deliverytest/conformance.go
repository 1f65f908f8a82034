package deliverytest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/delivery"
)

// Behaviour is how a receiving side treats messages from now on.
type Behaviour string

// Behaviours.
const (
	Accept        Behaviour = "accept"
	RefuseForNow  Behaviour = "refuse for now"
	RefuseForGood Behaviour = "refuse for good"
	RefuseAddress Behaviour = "refuse the address" // there is no such mailbox
	Throttle      Behaviour = "throttle"           // too many requests: come back later
	TakeAndHangUp Behaviour = "take and hang up"   // the message counts, the answer is lost
	LoseAndHangUp Behaviour = "lose and hang up"   // read in full, not taken, no answer
	TakeAndStall  Behaviour = "take and stall"     // the message counts, the answer never comes
	StallBefore   Behaviour = "stall before"       // no answer to anything before the message
	HangUpBefore  Behaviour = "hang up before"     // at the first word
	Unreachable   Behaviour = "unreachable"        // nothing listens
	DropKept      Behaviour = "drop kept"          // accept; connections that are open now are closed
	RefuseOne     Behaviour = "refuse one address" // RefuseAddress for Recipient(1) alone
)

// Backend is a receiving side under the suite's control.
type Backend struct {
	// New returns a provider that talks to it, with time-outs well above a second.
	New func(testing.TB) delivery.Provider
	// Behave changes it; false when it can't behave so, and the case is skipped.
	Behave func(Behaviour) bool
	// Accepted counts what was taken for a recipient.
	Accepted func(rcpt string) int
	// Attempts counts what arrived in full, taken or not: calls or final dots.
	Attempts func() int
}

// outcomes that the suite expects of one message.
var outcomes = []struct {
	when      Behaviour
	want      delivery.Outcome
	bad       bool // BadAddress
	taken     int
	attempts  int // at most; refusals may come before or after the message
	withRetry bool
}{
	{when: RefuseForNow, want: delivery.RejectedTemp, attempts: 1},
	{when: RefuseForGood, want: delivery.RejectedPerm, attempts: 1},
	{when: RefuseAddress, want: delivery.RejectedPerm, bad: true, attempts: 1},
	{when: Throttle, want: delivery.NotSent, attempts: 1, withRetry: true},
	{when: TakeAndHangUp, want: delivery.Unknown, taken: 1, attempts: 1},
	{when: LoseAndHangUp, want: delivery.Unknown, attempts: 1},
	{when: HangUpBefore, want: delivery.NotSent},
	{when: Unreachable, want: delivery.NotSent},
}

// Conformance is the suite that every provider passes. start makes a fresh
// receiving side for each case.
func Conformance(t *testing.T, start func(testing.TB) Backend) {
	t.Helper()
	letter := Letter(t)
	background := context.Background()

	t.Run("describes itself", func(t *testing.T) {
		p := start(t).New(t)
		require.NotEmpty(t, p.Name())
		require.Equal(t, kairos.Email, p.Channel())
		l := p.Limits()
		require.Positive(t, l.Batch)
		require.Positive(t, l.Concurrency)
		require.Positive(t, l.Timeout)
		require.Empty(t, p.Send(background, nil))
		require.NoError(t, p.Close())
		require.NoError(t, p.Close())
	})

	t.Run("accepted", func(t *testing.T) {
		b := start(t)
		p := closing(t, b.New(t))
		n := min(p.Limits().Batch, 25)
		for _, r := range p.Send(background, Messages(t, letter, 0, n)) {
			require.Equal(t, delivery.Accepted, r.Outcome, r.Detail)
			require.NotEmpty(t, r.ProviderID)
			require.Zero(t, r.RetryAfter)
		}
		for i := range n {
			require.Equal(t, 1, b.Accepted(Recipient(i)))
		}
	})

	for _, o := range outcomes {
		t.Run(string(o.when), func(t *testing.T) {
			b := start(t)
			p := closing(t, b.New(t))
			behave(t, b, o.when)
			rs := p.Send(background, Messages(t, letter, 0, 1))
			require.Len(t, rs, 1)
			r := rs[0]
			require.Equal(t, o.want, r.Outcome, "%+v", r)
			require.Equal(t, o.bad, r.BadAddress)
			require.NotEmpty(t, r.Code+r.Detail)
			require.NotContains(t, r.Detail, "@")
			require.NotContains(t, r.Detail, "person000000")
			require.Equal(t, o.taken, b.Accepted(Recipient(0)))
			require.LessOrEqual(t, b.Attempts(), o.attempts, "the provider tried again by itself")
			if o.withRetry {
				require.Positive(t, r.RetryAfter)
			}
			// The provider isn't the worse for it.
			require.True(t, b.Behave(Accept))
			rs = p.Send(background, Messages(t, letter, 7, 1))
			require.Equal(t, delivery.Accepted, rs[0].Outcome, rs[0].Detail)
		})
	}

	t.Run("one bad address among many", func(t *testing.T) {
		b := start(t)
		p := closing(t, b.New(t))
		behave(t, b, RefuseOne)
		n := 4
		var rs []delivery.Result
		for _, batch := range inBatches(Messages(t, letter, 0, n), p.Limits().Batch) {
			rs = append(rs, p.Send(background, batch)...)
		}
		require.Len(t, rs, n)
		for i, r := range rs {
			if i == 1 {
				require.Equal(t, delivery.RejectedPerm, r.Outcome)
				require.True(t, r.BadAddress)
				require.Zero(t, b.Accepted(Recipient(i)))
				continue
			}
			require.Equal(t, delivery.Accepted, r.Outcome, r.Detail)
			require.Equal(t, 1, b.Accepted(Recipient(i)))
		}
	})

	t.Run("a message that can't be written", func(t *testing.T) {
		b := start(t)
		p := closing(t, b.New(t))
		for i, spoil := range []func(*delivery.Message){
			func(m *delivery.Message) { m.To.Email = "a@example.com>\r\nRCPT TO:<b@example.com" },
			func(m *delivery.Message) { m.To.Name = "Eve\r\nBcc: b@example.com" },
			func(m *delivery.Message) { m.From.Name = "Eve\x00" },
			func(m *delivery.Message) { m.To.Email = "not an address" },
		} {
			msgs := Messages(t, letter, 10*i, min(2, p.Limits().Batch))
			spoil(msgs[0])
			rs := p.Send(background, msgs)
			require.Len(t, rs, len(msgs))
			require.Equal(t, delivery.RejectedPerm, rs[0].Outcome)
			require.Zero(t, b.Accepted(Recipient(10*i)))
			require.Zero(t, b.Accepted("b@example.com"))
			if len(rs) > 1 {
				require.Equal(t, delivery.Accepted, rs[1].Outcome)
			}
		}
	})

	t.Run("context", func(t *testing.T) {
		for _, c := range []struct {
			when     Behaviour
			want     delivery.Outcome
			deadline bool
		}{
			{TakeAndStall, delivery.Unknown, false},
			{TakeAndStall, delivery.Unknown, true},
			{StallBefore, delivery.NotSent, false},
			{StallBefore, delivery.NotSent, true},
		} {
			t.Run(string(c.when), func(t *testing.T) {
				b := start(t)
				p := closing(t, b.New(t))
				behave(t, b, c.when)
				ctx, cancel := context.WithCancel(background)
				if c.deadline {
					ctx, cancel = context.WithTimeout(background, 300*time.Millisecond)
				}
				defer cancel()
				msgs := Messages(t, letter, 0, min(p.Limits().Batch, 3))
				done := make(chan []delivery.Result, 1)
				go func() { done <- p.Send(ctx, msgs) }()
				if !c.deadline {
					if c.want == delivery.Unknown {
						require.Eventually(t, func() bool { return b.Attempts() > 0 }, 10*time.Second, time.Millisecond)
					}
					cancel()
				}
				select {
				case rs := <-done:
					require.Len(t, rs, len(msgs))
					require.Equal(t, c.want, rs[0].Outcome, "%+v", rs[0])
				case <-time.After(10 * time.Second):
					t.Fatal("Send doesn't heed its context")
				}
			})
		}
		t.Run("ended before", func(t *testing.T) {
			b := start(t)
			p := closing(t, b.New(t))
			ctx, cancel := context.WithCancel(background)
			cancel()
			for _, r := range p.Send(ctx, Messages(t, letter, 0, min(p.Limits().Batch, 3))) {
				require.Equal(t, delivery.NotSent, r.Outcome)
			}
			require.Zero(t, b.Attempts())
		})
	})

	t.Run("kept connections that are dropped", func(t *testing.T) {
		b := start(t)
		p := closing(t, b.New(t))
		for i := range 5 {
			rs := p.Send(background, Messages(t, letter, i, 1))
			require.Equal(t, delivery.Accepted, rs[0].Outcome, rs[0].Detail)
			behave(t, b, DropKept)
		}
		for i := range 5 {
			require.Equal(t, 1, b.Accepted(Recipient(i)))
		}
	})

	t.Run("concurrency", func(t *testing.T) {
		b := start(t)
		p := closing(t, b.New(t))
		const each = 20
		l := p.Limits()
		workers := min(l.Concurrency*2, 16)
		size := min(l.Batch, 10)
		all := Messages(t, letter, 0, workers*each*size)
		var wg sync.WaitGroup
		for w := range workers {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for i := range each {
					from := (w*each + i) * size
					for _, r := range p.Send(background, all[from:from+size]) {
						if r.Outcome != delivery.Accepted {
							t.Errorf("result %+v", r)
						}
					}
				}
			}()
		}
		wg.Wait()
		for i := range all {
			require.Equal(t, 1, b.Accepted(Recipient(i)))
		}
	})
}

func closing(t *testing.T, p delivery.Provider) delivery.Provider {
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return p
}

func behave(t *testing.T, b Backend, as Behaviour) {
	t.Helper()
	if !b.Behave(as) {
		t.Skipf("this side can't %s", as)
	}
}

func inBatches(msgs []*delivery.Message, size int) (out [][]*delivery.Message) {
	for len(msgs) > 0 {
		n := min(size, len(msgs))
		out = append(out, msgs[:n])
		msgs = msgs[n:]
	}
	return out
}

// SMTPBackend returns the sink as a Backend.
func SMTPBackend(s *SMTPSink, newProvider func(testing.TB) delivery.Provider) Backend {
	return Backend{
		New: newProvider, Accepted: s.Accepted, Attempts: s.Attempts,
		Behave: func(as Behaviour) bool {
			faults, ok := smtpFaults[as]
			if !ok {
				return false
			}
			s.SetFaults(faults...)
			if as == DropKept {
				s.Drop()
			}
			return s.Refuse(as == Unreachable) == nil
		},
	}
}

var smtpFaults = map[Behaviour][]Fault{
	Accept:        nil,
	DropKept:      nil,
	Unreachable:   nil,
	RefuseForNow:  {{At: AtDot, Reply: "451 4.3.0 come back later"}},
	RefuseForGood: {{At: AtDot, Reply: "554 5.7.1 we don't want this for person000000@example.com"}},
	RefuseAddress: {{At: AtRcpt, Reply: "550 5.1.1 <person000000@example.com>: user unknown"}},
	RefuseOne:     {{At: AtRcpt, To: Recipient(1), Reply: "550 5.1.1 user unknown"}},
	TakeAndHangUp: {{At: AtDot, Close: true, Take: true}},
	LoseAndHangUp: {{At: AtDot, Close: true}},
	TakeAndStall:  {{At: AtDot, Hang: true, Take: true}},
	StallBefore:   {{At: AtMail, Hang: true}},
	HangUpBefore:  {{At: AtConnect, Close: true}, {At: AtMail, Close: true}},
}
