package analysis

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"kairos"
)

// action is something a person did that may be a campaign's goal.
type action struct {
	contact      kairos.ID
	at           int64 // microseconds
	position     int64
	kind         string
	notification kairos.ID // when it came by the message's own token
	currency     string    // "" when it is no payment
	amount       kairos.Amount
}

// defaultCurrency stands in where a payment names none.
const defaultCurrency = "EUR"

// one is the amount that stands for one conversion under the currency "".
const one kairos.Amount = 1_000_000

// actionOf reads an event as an action; false: it is none. Facts about
// messages, campaigns and contacts are not what a person did on a page; a
// payment whose amount is no money is none either. d is what its data says.
func actionOf(e *kairos.Event, d *detail) (a action, ok bool) {
	if reserved(e.Kind) || d.Machine {
		return a, false
	}
	a = action{contact: e.Contact, at: e.OccurredAt.UnixMicro(), position: e.Cursor.Position, kind: e.Kind, notification: e.Notification}
	if e.Kind != kairos.PaymentReceived {
		return a, true
	}
	a.currency, a.amount, ok = money(e.Data)
	return a, ok
}

// reserved reports whether a kind is a fact of the system's own.
func reserved(kind string) bool {
	stage, _, _ := strings.Cut(kind, ".")
	switch stage {
	case "notification", "campaign", "contact", "import", "model", "provider", "kairos":
		return true
	}
	return false
}

// money reads the amount and currency of a payment: no amount is nothing paid,
// no currency the default one. false: malformed or negative.
func money(data json.RawMessage) (currency string, amount kairos.Amount, ok bool) {
	var m struct {
		Amount   kairos.Amount `json:"amount"`
		Currency *string       `json:"currency"`
	}
	if len(data) > 0 && json.Unmarshal(data, &m) != nil || m.Amount < 0 {
		return "", 0, false
	}
	if m.Currency == nil || *m.Currency == "" {
		return defaultCurrency, m.Amount, true
	}
	currency = strings.ToUpper(*m.Currency)
	return currency, m.Amount, kairos.ValidCurrency(currency)
}

// creditKey is one line of a person's account with a campaign.
type creditKey struct {
	notification kairos.ID
	currency     string // "" counts conversions
}

// credit is what an account line holds.
type credit struct {
	attributed  kairos.Amount
	attributedN int64
	amount      kairos.Amount // within the window, whatever was touched
	n           int64
}

func (c credit) plus(d credit, sign int64) credit {
	return credit{c.attributed + kairos.Amount(sign)*d.attributed, c.attributedN + sign*d.attributedN,
		c.amount + kairos.Amount(sign)*d.amount, c.n + sign*d.n}
}

// earning tells which of some actions can be credited to anybody: payments, and
// what is the goal of a campaign. People look at many pages for each payment;
// theirs would otherwise have all of a person's journeys loaded for nothing.
// Whoever's journey is loaded in tx, its campaign is known there.
func earning(ctx context.Context, tx pgx.Tx, lists ...[]action) (func(*action) bool, error) {
	goals := map[string]bool{}
	for _, acts := range lists {
		for i := range acts {
			if acts[i].currency == "" {
				goals[acts[i].kind] = false
			}
		}
	}
	if len(goals) > 0 {
		rows, err := tx.Query(ctx, `
			SELECT kind FROM unnest($1::text[]) AS u(kind)
			WHERE EXISTS (SELECT FROM campaigns WHERE spec -> 'goal' ->> 'kind' = u.kind)`, slices.Collect(maps.Keys(goals)))
		var kind string
		if err == nil {
			_, err = pgx.ForEachRow(rows, []any{&kind}, func() error {
				goals[kind] = true
				return nil
			})
		}
		if err != nil {
			return nil, fmt.Errorf("look for goals: %w", err)
		}
	}
	return func(a *action) bool { return a.currency != "" || goals[a.kind] }, nil
}

// settle credits one person's actions to that person's journeys and adds the
// result, sign times, to sums. It is a function of the two sets alone: for an
// action the journeys must be all whose windows hold it.
func settle(journeys []*journey, actions []action, sign int64, sums map[creditKey]credit) {
	put := func(j *journey, currency string, c credit) {
		key := creditKey{j.notification, currency}
		sums[key] = sums[key].plus(c, sign)
	}
	for i := range actions {
		a := &actions[i]
		for _, j := range journeys {
			if !j.reading().inWindow(a.at, j.rules) {
				continue
			}
			if a.currency != "" {
				put(j, a.currency, credit{amount: a.amount, n: 1})
			}
			if a.kind == j.rules.goal {
				put(j, "", credit{amount: one, n: 1})
			}
		}
		if j := a.earner(journeys); j != nil {
			if a.currency != "" {
				put(j, a.currency, credit{attributed: a.amount, attributedN: 1})
			}
			if a.kind == j.rules.goal {
				put(j, "", credit{attributed: one, attributedN: 1})
			}
		}
	}
	for _, j := range journeys {
		j.settleTouches(put)
	}
}

// earner returns the one journey an action is attributed to, nil if none: the
// message whose token brought it, when that lies within its window; else, of
// the messages within whose window it lies, the one the person touched last
// before it (then: sent last; then: the larger id). Transactional messages earn
// by their token alone: a receipt is no reason for the next purchase.
func (a *action) earner(journeys []*journey) (best *journey) {
	var touch, sent int64
	for _, j := range journeys {
		v := j.reading()
		if !v.reached(a.at, j.rules) {
			continue
		}
		if !a.notification.IsZero() && j.notification == a.notification {
			return j
		}
		if j.rules.transactional || a.currency == "" && a.kind != j.rules.goal {
			continue
		}
		t := v.touched(a.at)
		if t == 0 {
			continue
		}
		if best == nil || t > touch || t == touch && (v.sent > sent ||
			v.sent == sent && bytes.Compare(j.notification[:], best.notification[:]) > 0) {
			best, touch, sent = j, t, v.sent
		}
	}
	return best
}

// settleTouches counts conversions of a campaign whose goal is an open or a
// click itself.
func (j *journey) settleTouches(put func(*journey, string, credit)) {
	if !j.rules.byTouch() {
		return
	}
	v := j.reading()
	times := v.opens
	switch j.rules.goal {
	case kairos.NotificationOpened:
	case kairos.NotificationClicked:
		times = v.clicks
	default:
		return
	}
	for _, at := range times {
		if v.inWindow(at, j.rules) {
			put(j, "", credit{amount: one, n: 1})
		}
		if v.reached(at, j.rules) {
			put(j, "", credit{attributed: one, attributedN: 1})
		}
	}
}
