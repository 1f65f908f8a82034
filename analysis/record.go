package analysis

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"kairos"
)

// future is how far ahead of our clock a client's may run.
const future = 5 * time.Minute

// MaxRecord is how many events one Record takes.
const MaxRecord = 1_000

// Recorded is what became of one reported event.
type Recorded struct {
	ID        kairos.ID // of the event in the log; of the first one where this is a repeat
	Duplicate bool
	Err       error // a kairos.ErrInvalid or kairos.ErrNotFound: not recorded
}

// Record takes events that a client reports: POST /v1/events. Each names a
// notification, a contact or an external id; Event.Key, when given, is unique
// for the subject and kind for ever. A missing time is now, a missing id is
// minted. Refused items do not keep the others out. It returns one answer for
// each hit in the same order, or an error when nothing was recorded.
func (a *Analysis) Record(ctx context.Context, hits []kairos.Hit) ([]Recorded, error) {
	if len(hits) > MaxRecord {
		return nil, kairos.Invalid("events", "are more than %d", MaxRecord)
	}
	now := a.clock.Now()
	answers := make([]Recorded, len(hits))
	good, at := make([]kairos.Hit, 0, len(hits)), make([]int, 0, len(hits)) // at: their places
	for i, h := range hits {
		if err := completeHit(&h, now); err != nil {
			answers[i].Err = err
			continue
		}
		good, at = append(good, h), append(at, i)
	}
	good, at, err := a.dropUnknown(ctx, good, at, answers)
	if err != nil || len(good) == 0 {
		return answers, err
	}
	_, bad, err := a.enter(ctx, good, nil)
	if err != nil {
		return nil, fmt.Errorf("record events: %w", err)
	}
	for i := range bad {
		answers[at[i]].Err = kairos.Invalid("data", "cannot be stored")
	}
	first, err := a.firsts(ctx, good)
	if err != nil {
		return nil, err
	}
	for i := range good {
		r := &answers[at[i]]
		if r.Err != nil {
			continue
		}
		r.ID = good[i].Event.ID
		if id := first[i]; !id.IsZero() && id != r.ID {
			r.ID, r.Duplicate = id, true
		}
	}
	return answers, nil
}

func completeHit(h *kairos.Hit, now time.Time) error {
	e := &h.Event
	if e.OccurredAt.IsZero() {
		e.OccurredAt = now
	}
	if e.ID.IsZero() {
		e.ID = kairos.NewID()
	}
	e.OccurredAt = e.OccurredAt.UTC()
	h.Keyed = e.Key != ""
	if err := check(e); err != nil {
		return err
	}
	switch {
	case reserved(e.Kind):
		return kairos.Invalid("kind", "is reserved: only Kairos itself records it")
	case e.OccurredAt.After(now.Add(future)):
		return kairos.Invalid("occurred_at", "lies in the future")
	case e.Notification.IsZero() && e.Contact.IsZero() && h.ExternalID == "":
		return kairos.Invalid("contact", "is missing: name a token, a notification, a contact or an external_id")
	case len(h.ExternalID) > kairos.MaxKey || !validText(h.ExternalID):
		return kairos.Invalid("external_id", "must be text of at most %d bytes", kairos.MaxKey)
	}
	if e.Kind == kairos.PaymentReceived {
		return checkPayment(e)
	}
	return nil
}

// checkPayment wants a decimal amount that is not negative and a currency, and
// brings the currency to upper case.
func checkPayment(e *kairos.Event) error {
	var m map[string]json.RawMessage
	if len(e.Data) > 0 {
		if err := json.Unmarshal(e.Data, &m); err != nil {
			return kairos.Invalid("data", "must be a JSON object")
		}
	}
	if m["amount"] == nil {
		return kairos.Invalid("amount", "is missing")
	}
	var amount kairos.Amount
	if json.Unmarshal(m["amount"], &amount) != nil || string(m["amount"]) == "null" {
		return kairos.Invalid("amount", "is not a decimal number with at most six places")
	}
	if amount < 0 {
		return kairos.Invalid("amount", "is negative")
	}
	if m["currency"] == nil {
		return kairos.Invalid("currency", "is missing")
	}
	currency, _, ok := money(e.Data)
	if !ok {
		return kairos.Invalid("currency", "is not an ISO 4217 code")
	}
	m["amount"], _ = json.Marshal(amount) // the decimal string
	m["currency"], _ = json.Marshal(currency)
	data, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("write payment: %w", err)
	}
	e.Data = data
	return nil
}

// dropUnknown refuses the hits whose notification or person does not exist.
func (a *Analysis) dropUnknown(ctx context.Context, hits []kairos.Hit, at []int, answers []Recorded) ([]kairos.Hit, []int, error) {
	var ids, campaigns, contacts []kairos.ID
	var names []string
	for i := range hits {
		switch e := &hits[i].Event; {
		case !e.Notification.IsZero():
			ids, campaigns = append(ids, e.Notification), append(campaigns, e.Campaign)
		case !e.Contact.IsZero():
			contacts = append(contacts, e.Contact)
		default:
			names = append(names, hits[i].ExternalID)
		}
	}
	messages, err := recipients(ctx, a.pool, ids, campaigns)
	if err != nil {
		return nil, nil, err
	}
	people, err := contactsExist(ctx, a.pool, contacts)
	if err != nil {
		return nil, nil, err
	}
	named, err := contactsByExternalID(ctx, a.pool, names)
	if err != nil {
		return nil, nil, err
	}
	good, places := hits[:0], at[:0]
	for i := range hits {
		var field string
		var found bool
		switch e := &hits[i].Event; {
		case !e.Notification.IsZero():
			field = "notification"
			_, found = messages[e.Notification]
		case !e.Contact.IsZero():
			field = "contact"
			found = people[e.Contact]
		default:
			field = "external_id"
			_, found = named[hits[i].ExternalID]
		}
		if !found {
			answers[at[i]].Err = fmt.Errorf("%s: %w", field, kairos.ErrNotFound)
			continue
		}
		good, places = append(good, hits[i]), append(places, at[i])
	}
	return good, places, nil
}

// firsts returns for each hit the event that stands in the log for it.
func (a *Analysis) firsts(ctx context.Context, hits []kairos.Hit) ([]kairos.ID, error) {
	n := len(hits)
	subjects, kinds, keys, days, keyed := make([]kairos.ID, n), make([]string, n), make([]string, n), make([]time.Time, n), make([]bool, n)
	for i := range hits {
		e := &hits[i].Event
		subjects[i], kinds[i], keys[i], keyed[i] = e.About(), e.Kind, e.Key, hits[i].Keyed
		days[i] = e.OccurredAt.Truncate(24 * time.Hour)
	}
	rows, err := a.pool.Query(ctx, `
		SELECT u.place, coalesce(k.event, e.id)
		FROM unnest($1::uuid[], $2::text[], $3::text[], $4::date[], $5::bool[]) WITH ORDINALITY AS u(subject, kind, key, day, keyed, place)
		LEFT JOIN event_keys k ON u.keyed AND k.subject = u.subject AND k.kind = u.kind AND k.key = u.key
		LEFT JOIN events e ON NOT u.keyed AND e.subject = u.subject AND e.kind = u.kind AND e.key = u.key AND e.day = u.day`,
		subjects, kinds, keys, days, keyed)
	if err != nil {
		return nil, fmt.Errorf("look up events: %w", err)
	}
	ids := make([]kairos.ID, n)
	var place int64
	var id kairos.ID
	_, err = pgx.ForEachRow(rows, []any{&place, &id}, func() error {
		ids[place-1] = id
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look up events: %w", err)
	}
	return ids, nil
}
