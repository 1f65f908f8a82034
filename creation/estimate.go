package creation

import (
	"context"
	"fmt"

	"kairos"
)

// Estimate says what a campaign would do if it were launched now. Each person
// counts once, under the first reason that applies:
// Audience = NoAddress + Suppressed + Unsubscribed + NoConsent + Reachable.
type Estimate struct {
	Audience     int64         `json:"audience"`
	NoAddress    int64         `json:"no_address"`
	Suppressed   int64         `json:"suppressed"`
	Unsubscribed int64         `json:"unsubscribed"`
	NoConsent    int64         `json:"no_consent"`
	Reachable    int64         `json:"reachable"`
	HeldOut      int64         `json:"held_out"` // expected number of the reachable
	Messages     int64         `json:"messages"` // Reachable - HeldOut
	Cost         kairos.Amount `json:"cost"`     // fixed and per message
	Currency     string        `json:"currency"`
}

// Estimate counts a campaign's audience and who of it can be written to.
func (c *Creation) Estimate(ctx context.Context, id kairos.ID) (Estimate, error) {
	p, err := c.Campaign(ctx, id)
	if err != nil {
		return Estimate{}, err
	}
	if p.Kind != KindCampaign {
		return Estimate{}, conflict("campaign is transactional, it has no audience")
	}
	a, err := audienceOf(ctx, c.pool, p.Spec.Audience, c.clock.Now())
	if err != nil {
		return Estimate{}, err
	}
	marketing, topic := a.param(p.Spec.Marketing())+"::boolean", a.param(p.Spec.Topic)+"::text"
	e := Estimate{Currency: p.Spec.Cost.Currency}
	err = c.pool.QueryRow(ctx, `
		SELECT count(*), count(*) FILTER (WHERE bar = 1), count(*) FILTER (WHERE bar = 2), count(*) FILTER (WHERE bar = 3),
		       count(*) FILTER (WHERE bar = 4), count(*) FILTER (WHERE bar = 0)
		FROM (SELECT CASE
			WHEN c.email_key IS NULL THEN 1
			WHEN `+suppressed("all")+` THEN 2
			WHEN `+marketing+` AND `+suppressed("marketing")+` THEN 3
			WHEN `+marketing+` AND (c.preferences->'channels'->'email' = 'false' OR c.preferences->'topics'->`+topic+` = 'false') THEN 4
			ELSE 0 END AS bar FROM contacts c WHERE `+a.where+`) x`, a.args...).
		Scan(&e.Audience, &e.NoAddress, &e.Suppressed, &e.Unsubscribed, &e.NoConsent, &e.Reachable)
	if err != nil {
		return Estimate{}, fmt.Errorf("estimate campaign %s: %w", id, err)
	}
	e.HeldOut = int64(float64(e.Reachable)*p.Spec.Shares().Holdout + 0.5)
	e.Messages = e.Reachable - e.HeldOut
	e.Cost = p.Spec.Cost.Fixed + p.Spec.Cost.PerMessage*kairos.Amount(e.Messages)
	return e, nil
}

// suppressed is true for contacts c that a suppression of the scope names by
// person or by address.
func suppressed(scope string) string {
	from := "EXISTS (SELECT FROM suppressions s WHERE s.channel = 'email' AND s.scope = '" + scope + "' AND "
	return "(" + from + "s.contact = c.id) OR " + from + "s.address = sha256(convert_to(c.email_key, 'UTF8'))))"
}
