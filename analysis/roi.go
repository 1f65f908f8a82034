package analysis

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"kairos"
)

// ROI tells what a campaign cost and brought. Its figures are in Currency, the
// campaign's own; money in others stands in OtherCurrencies and is never added
// up. Conversions count the events of the campaign's goal in any currency.
type ROI struct {
	Campaign        kairos.ID       `json:"campaign"`
	AsOf            time.Time       `json:"as_of"`
	Currency        string          `json:"currency"`
	Attributed      Attributed      `json:"attributed"`
	Incremental     Incremental     `json:"incremental"`
	Cost            CostSide        `json:"cost"`
	ROI             *float64        `json:"roi"`             // (attributed revenue - cost) / cost; null without a cost
	ROIIncremental  *float64        `json:"roi_incremental"` // the same of the incremental revenue; null without a holdout
	OtherCurrencies []OtherCurrency `json:"other_currencies"`
}

// Attributed is what followed an open, a click or the message's own token
// within the attribution window.
type Attributed struct {
	Conversions int64         `json:"conversions"`
	Revenue     kairos.Amount `json:"revenue"`
}

// Incremental is what the campaign brought beyond what would have come without
// it: the difference in mean per person between those to whom a message was
// planned, whatever became of it, and the held out, over the same window,
// times the number of the former. Interval is the 95 % interval of Revenue.
// Without a holdout all figures are null.
type Incremental struct {
	Conversions         *float64          `json:"conversions"`
	ConversionsInterval *[2]float64       `json:"conversions_interval"`
	Revenue             *kairos.Amount    `json:"revenue"`
	Interval            *[2]kairos.Amount `json:"interval"`
	Verdict             string            `json:"verdict"`
	Needed              *int64            `json:"needed"`   // people in all at which the difference would show; null when it does or nothing can be said
	Treated             int64             `json:"treated"`  // people
	HeldOut             int64             `json:"held_out"` // people
}

// CostSide is what the campaign cost: fixed, and per message that went out.
type CostSide struct {
	Fixed    kairos.Amount `json:"fixed"`
	Messages kairos.Amount `json:"messages"`
	Total    kairos.Amount `json:"total"`
}

// OtherCurrency is the money side in a currency that is not the campaign's.
type OtherCurrency struct {
	Currency    string      `json:"currency"`
	Attributed  Attributed  `json:"attributed"` // conversions: payments
	Incremental Incremental `json:"incremental"`
}

// takings is a campaign's revenue in one currency.
type takings struct {
	payments         int64
	revenue          kairos.Amount
	treated, heldOut sample
}

// ROI reports on one campaign; kairos.ErrNotFound when there is none.
func (a *Analysis) ROI(ctx context.Context, campaign kairos.ID) (ROI, error) {
	r := ROI{Campaign: campaign, OtherCurrencies: []OtherCurrency{}}
	err := pgx.BeginTxFunc(ctx, a.pool, snapshot(), func(tx pgx.Tx) error {
		spec, err := loadSpec(ctx, tx, campaign)
		if err != nil {
			return err
		}
		if r.AsOf, err = a.asOf(ctx, tx); err != nil {
			return err
		}
		counts, err := loadRollups(ctx, tx, campaign)
		if err != nil {
			return err
		}
		money, err := loadRevenue(ctx, tx, campaign)
		if err != nil {
			return err
		}
		r.fill(spec.Cost, counts, money, a.opts.MinLift)
		return nil
	})
	if err != nil {
		return ROI{}, fmt.Errorf("report roi of campaign %s: %w", campaign, err)
	}
	return r, nil
}

func (r *ROI) fill(cost kairos.Cost, counts map[rollupKey]count, money map[string]takings, minLift float64) {
	r.Currency = strings.ToUpper(cost.Currency)
	if r.Currency == "" {
		r.Currency = defaultCurrency
	}
	var sent, treated, heldOut int64
	for key, n := range counts {
		switch key.step {
		case StepSent:
			sent += n.total
		case StepPlanned:
			treated += n.uniques
		case StepHeldOut:
			heldOut += n.uniques
		}
	}
	goals, main := money[""], money[r.Currency]
	r.Attributed = Attributed{Conversions: goals.payments, Revenue: main.revenue}
	r.Incremental = incremental(goals, main, treated, heldOut, minLift)
	r.Cost = CostSide{Fixed: cost.Fixed, Messages: cost.PerMessage * kairos.Amount(sent)}
	r.Cost.Total = r.Cost.Fixed + r.Cost.Messages
	r.ROI = returnOn(r.Cost.Total, &r.Attributed.Revenue)
	r.ROIIncremental = returnOn(r.Cost.Total, r.Incremental.Revenue)
	for currency, t := range money {
		if currency == "" || currency == r.Currency {
			continue
		}
		r.OtherCurrencies = append(r.OtherCurrencies, OtherCurrency{
			Currency:    currency,
			Attributed:  Attributed{Conversions: t.payments, Revenue: t.revenue},
			Incremental: incremental(takings{}, t, treated, heldOut, minLift).moneyOnly(),
		})
	}
	slices.SortFunc(r.OtherCurrencies, func(a, b OtherCurrency) int { return strings.Compare(a.Currency, b.Currency) })
}

func returnOn(cost kairos.Amount, revenue *kairos.Amount) *float64 {
	if cost <= 0 || revenue == nil {
		return nil
	}
	r := (revenue.Float() - cost.Float()) / cost.Float()
	return &r
}

// incremental compares the two groups by revenue, and by conversions where
// there is no revenue at all.
func incremental(goals, money takings, treated, heldOut int64, minLift float64) Incremental {
	in := Incremental{Verdict: VerdictNotEnoughData, Treated: treated, HeldOut: heldOut}
	n := float64(treated)
	goals.treated.n, goals.heldOut.n = n, float64(heldOut)
	money.treated.n, money.heldOut.n = n, float64(heldOut)
	byGoal, ok := compareMeans(goals.treated, goals.heldOut, minLift)
	if !ok {
		return in
	}
	byMoney, _ := compareMeans(money.treated, money.heldOut, minLift)
	conversions, revenue := byGoal.estimate*n, amount(byMoney.estimate*n)
	in.Conversions, in.ConversionsInterval = &conversions, &[2]float64{byGoal.low * n, byGoal.high * n}
	in.Revenue, in.Interval = &revenue, &[2]kairos.Amount{amount(byMoney.low * n), amount(byMoney.high * n)}
	decisive := byMoney
	if money.treated.squares+money.heldOut.squares == 0 {
		decisive = byGoal
	}
	in.Verdict = decisive.verdict
	if decisive.needed > 0 {
		in.Needed = &decisive.needed
	}
	return in
}

// moneyOnly leaves the conversions out: they are told once, in any currency.
func (in Incremental) moneyOnly() Incremental {
	in.Conversions, in.ConversionsInterval = nil, nil
	return in
}

// amount rounds to the hundredth: an estimate has no more to say.
func amount(f float64) kairos.Amount {
	return kairos.Amount(math.Round(f*100)) * 10_000
}

func loadRevenue(ctx context.Context, q db, campaign kairos.ID) (map[string]takings, error) {
	rows, err := q.Query(ctx, `
		SELECT currency, arm = $2, attributed_payments, least(attributed_amount * 1000000, 9e18)::bigint,
		       window_people::float8, window_amount::float8, window_squares::float8
		FROM revenue WHERE campaign = $1`, campaign, string(kairos.ArmHoldout))
	if err != nil {
		return nil, fmt.Errorf("load revenue: %w", err)
	}
	money := map[string]takings{}
	var currency string
	var held bool
	var payments int64
	var revenue kairos.Amount
	var s sample
	_, err = pgx.ForEachRow(rows, []any{&currency, &held, &payments, &revenue, &s.payers, &s.sum, &s.squares}, func() error {
		t := money[currency]
		t.payments, t.revenue = t.payments+payments, t.revenue+revenue
		group := &t.treated
		if held {
			group = &t.heldOut
		}
		group.payers, group.sum, group.squares = group.payers+s.payers, group.sum+s.sum, group.squares+s.squares
		money[currency] = t
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load revenue: %w", err)
	}
	return money, nil
}
