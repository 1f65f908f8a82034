package dashboard

import (
	"context"
	"time"

	"kairos"
	"kairos/creation"
	"kairos/delivery"
)

// segment is one part of a progress bar.
type segment struct {
	name  string
	tone  string
	n     int64
	why   string
	state string // of the ledger's filter; "" when there are no rows of it yet
	from  string // where the part begins and how wide it is, in percent
	width string
}

// standing is where a campaign's recipients are.
type standing struct {
	total    int64
	done     int64
	segments []segment
}

func standingOf(p delivery.Progress) standing {
	s := standing{total: p.Total}
	add := func(name, tone, state string, n int64, why string) {
		s.segments = append(s.segments, segment{name: name, tone: tone, n: n, why: why, state: state})
	}
	add("Accepted", "good", kairos.StateAccepted, p.Accepted, "the provider took responsibility")
	add("Unknown", "odd", kairos.StateUnknown, p.Unknown, "left, and no answer came: may have arrived, so not sent again without evidence")
	add("Failed", "bad", kairos.StateFailed, p.Failed, "refused for good")
	add("Skipped", "calm", kairos.StateSkipped, p.Skipped, "kept back by a rule")
	add("Held out", "held", kairos.StateHeldOut, p.HeldOut, "not written to on purpose, for comparison")
	add("Cancelled", "dim", kairos.StateCancelled, p.Cancelled, "not sent because the campaign was cancelled")
	for _, g := range s.segments {
		s.done += g.n
	}
	add("To come", "rest", kairos.StatePlanned, max(0, s.total-s.done), "waiting for their moment, or still to be planned")
	var before float64
	for i := range s.segments {
		g := &s.segments[i]
		g.from, g.width = portion(before, float64(s.total)), portion(float64(g.n), float64(s.total))
		before += float64(g.n)
	}
	return s
}

// percent is how much of the whole is decided, rounded down: 100 means all.
func (s standing) percent() string {
	if s.total == 0 {
		return "0%"
	}
	return count(s.done*100/s.total) + "%"
}

// reasonsOf counts the reasons of a state that n people are in.
func (d *dashboard) reasonsOf(ctx context.Context, c creation.Campaign, state string, n int64) ([]delivery.ReasonCount, error) {
	if n == 0 {
		return nil, nil
	}
	return d.reasons.get(ctx, c.ID.String()+state, 5*time.Second, func(ctx context.Context) ([]delivery.ReasonCount, error) {
		return d.opts.Delivery.Reasons(ctx, c.ID, state)
	})
}
