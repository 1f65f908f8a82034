package delivery

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"kairos"
	"kairos/internal/eventlog"
)

const (
	feedbackReader = "delivery.feedback"
	feedbackBatch  = 2000
	feedbackRounds = 20 // batches of one call
)

// evidence lists the events that only a message which left can cause.
var evidence = []string{
	kairos.NotificationDelivered, kairos.NotificationBounced, kairos.NotificationDropped, kairos.NotificationDeferred,
	kairos.NotificationComplained, kairos.NotificationOpened, kairos.NotificationClicked,
	kairos.ProviderProcessed, kairos.ProviderOpened, kairos.ProviderClicked,
}

// Feedback reads what the log says about sent messages: evidence settles
// unknown attempts, hard bounces, complaints and unsubscriptions suppress, a
// resubscription takes an unsubscription back. The leader calls it each
// second. Every order and repetition of the same events ends in the same rows.
//
// It understands in an event's data: "attempt" (kairos.AttemptRef: the very
// attempt meant; without it the live one), "class" ("hard": the mailbox does
// not exist) and "address_hash" (hex of sha256 of the lower-case mailbox;
// without it the contact's present one).
func (d *Delivery) Feedback(ctx context.Context) error {
	filter := eventlog.Filter{Kinds: append(slices.Clone(evidence), kairos.ContactUnsubscribed, kairos.ContactResubscribed), Facts: true}
	for range feedbackRounds {
		n, err := eventlog.Tail(ctx, byIndex{d}, feedbackReader, filter, feedbackBatch, d.learn)
		if err != nil {
			return err
		}
		if n < feedbackBatch {
			break
		}
	}
	return nil
}

// said is what Feedback understands of an event's data.
type said struct {
	Attempt string `json:"attempt"`
	Class   string `json:"class"`
	Hash    string `json:"address_hash"`
	Channel string `json:"channel"`
}

func (d *Delivery) learn(ctx context.Context, tx pgx.Tx, events []kairos.Event) error {
	data := make([]said, len(events))
	for i := range events {
		if speaks(events[i].Data) {
			var s said
			if json.Unmarshal(events[i].Data, &s) == nil { // what can't be read says nothing
				data[i] = s
			}
		}
	}
	if err := d.resolveByEvidence(ctx, tx, events, data); err != nil {
		return err
	}
	if err := d.suppressByFeedback(ctx, tx, events, data); err != nil {
		return err
	}
	return d.subscribe(ctx, tx, events, data)
}

// speaks reports whether data may hold something that said reads. An open or a
// click seldom does, and they are most of what comes.
func speaks(data []byte) bool {
	for _, name := range [...]string{`"attempt"`, `"class"`, `"address_hash"`, `"channel"`, `\u`} {
		if bytes.Contains(data, []byte(name)) {
			return true
		}
	}
	return false
}

// witness is what the events of a chunk say of one attempt.
type witness struct {
	notification, campaign kairos.ID
	number                 int32 // 0: the live one
}

// witnesses gathers the evidence, each attempt's once, with the least kind.
func witnesses(events []kairos.Event, data []said) map[witness]string {
	found := map[witness]string{}
	for i := range events {
		e := &events[i]
		if !slices.Contains(evidence, e.Kind) || e.Notification.IsZero() {
			continue
		}
		w := witness{notification: e.Notification, campaign: e.Campaign}
		if data[i].Attempt != "" {
			if ref, err := kairos.ParseAttemptRef(data[i].Attempt); err == nil && ref.Notification == e.Notification {
				w.number = ref.Number
			}
		}
		if known, ok := found[w]; !ok || e.Kind < known {
			found[w] = e.Kind
		}
	}
	return found
}

// concerned returns the notifications with an attempt that evidence can change:
// one under way or unknown, or one that was settled by evidence before. Nearly
// always it is none, and one look-up in the month of the campaign told so.
func concerned(ctx context.Context, tx pgx.Tx, told map[witness]string) (map[kairos.ID]bool, error) {
	found, changes := make(map[kairos.ID]bool, len(told)), map[kairos.ID]bool{}
	look := func(where string, args ...any) error {
		rows, err := tx.Query(ctx, `
			SELECT notification, state IN ('sending', 'unknown')
			       OR state = 'accepted' AND (evidence LIKE 'notification.%' OR evidence LIKE 'provider.%') IS TRUE
			FROM attempts WHERE `+where, args...)
		if err == nil {
			var id kairos.ID
			var may bool
			_, err = pgx.ForEachRow(rows, []any{&id, &may}, func() error {
				if found[id] = true; may {
					changes[id] = true
				}
				return nil
			})
		}
		if err != nil {
			return fmt.Errorf("look for attempts: %w", err)
		}
		return nil
	}
	of := map[kairos.ID][]kairos.ID{}
	for w := range told {
		of[w.campaign] = append(of[w.campaign], w.notification)
	}
	if len(of) <= 8 { // more are looked up at once, in every month
		for campaign, ids := range of {
			if campaign.IsZero() {
				continue
			}
			if err := look(`campaign = $1 AND notification = ANY ($2)`, campaign, ids); err != nil {
				return nil, err
			}
		}
	}
	var rest []kairos.ID // whose campaign is not told, or wrong
	for w := range told {
		if !found[w.notification] {
			rest = append(rest, w.notification)
		}
	}
	if len(rest) == 0 {
		return changes, nil
	}
	return changes, look(`notification = ANY ($1)`, rest)
}

// resolveByEvidence makes accepted what is sending or unknown and has been
// heard of.
func (d *Delivery) resolveByEvidence(ctx context.Context, tx pgx.Tx, events []kairos.Event, data []said) error {
	told := witnesses(events, data)
	if len(told) == 0 {
		return nil
	}
	changes, err := concerned(ctx, tx, told)
	if err != nil || len(changes) == 0 {
		return err
	}
	var ids []kairos.ID
	var numbers []int32
	var kinds []string
	for w, kind := range told {
		if changes[w.notification] {
			ids, numbers, kinds = append(ids, w.notification), append(numbers, w.number), append(kinds, kind)
		}
	}
	// The witness named is the least kind among all, so that their order does not
	// matter. The offset keeps it a look-up by key for each: a join reads every attempt.
	_, err = tx.Exec(ctx, `
		UPDATE attempts a SET evidence = w.kind
		FROM (SELECT a.campaign, a.notification, a.number, min(g.kind) AS kind
		      FROM unnest($1::uuid[], $2::int[], $3::text[]) AS g(id, number, kind)
		      CROSS JOIN LATERAL (
			SELECT * FROM attempts a WHERE a.notification = g.id AND (g.number = 0 OR a.number = g.number)
			  AND a.state = 'accepted' AND (a.evidence LIKE 'notification.%' OR a.evidence LIKE 'provider.%') OFFSET 0) a
		      GROUP BY 1, 2, 3) w
		WHERE a.campaign = w.campaign AND a.notification = w.notification AND a.number = w.number AND w.kind < a.evidence`, ids, numbers, kinds)
	if err != nil {
		return fmt.Errorf("name the evidence: %w", err)
	}
	rows, err := tx.Query(ctx, `
		WITH g AS (SELECT * FROM unnest($1::uuid[], $2::int[], $3::text[]) AS g(id, number, kind)), hit AS (
			SELECT a.campaign, a.notification, a.number, a.provider FROM attempts a
			WHERE a.notification = ANY ($1) AND a.state IN ('sending', 'unknown')
			ORDER BY a.campaign, a.notification FOR UPDATE)
		SELECT a.campaign, a.notification, a.number, a.provider, n.contact, min(g.kind)
		FROM hit a JOIN g ON g.id = a.notification AND (g.number = 0 OR g.number >= a.number) -- a later number was lost in a restore
		JOIN notifications n ON n.id = a.notification AND n.campaign = a.campaign
		GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2`, ids, numbers, kinds)
	if err != nil {
		return fmt.Errorf("find attempts by evidence: %w", err)
	}
	var groups []*endings
	var campaign kairos.ID
	end := ending{trigger: evidenceSeen, note: kairos.StateAccepted}
	_, err = pgx.ForEachRow(rows, []any{&campaign, &end.id, &end.number, &end.provider, &end.contact, &end.evidence}, func() error {
		if len(groups) == 0 || groups[len(groups)-1].campaign != campaign {
			groups = append(groups, &endings{campaign: campaign, at: d.clock.Now()})
		}
		g := groups[len(groups)-1]
		g.all = append(g.all, end)
		return nil
	})
	if err != nil {
		return fmt.Errorf("find attempts by evidence: %w", err)
	}
	for _, g := range groups {
		if err := d.write(ctx, tx, g, nil); err != nil {
			return err
		}
	}
	return nil
}

// suppressByFeedback binds mailboxes that do not exist and people who
// complained.
func (d *Delivery) suppressByFeedback(ctx context.Context, tx pgx.Tx, events []kairos.Event, data []said) error {
	var all []Suppression
	for i, e := range events {
		s := Suppression{Channel: kairos.Channel(data[i].Channel), Scope: ScopeAll, Contact: e.Contact, Notification: e.Notification, At: e.OccurredAt}
		switch {
		case e.Kind == kairos.NotificationBounced && data[i].Class == "hard":
			s.Reason = Bounced
		case e.Kind == kairos.NotificationComplained:
			s.Reason = Complained
		default:
			continue
		}
		if hash, err := hex.DecodeString(data[i].Hash); err == nil && len(hash) == 32 {
			s.Hash = hash
		}
		all = append(all, s)
	}
	if len(all) == 0 {
		return nil
	}
	if err := d.whose(ctx, tx, all); err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(s Suppression) bool { return s.Contact.IsZero() && len(s.Hash) == 0 })
	if err := lockSuppressions(ctx, tx); err != nil {
		return err
	}
	return suppress(ctx, tx, all)
}

// whose fills in the contact where an event names only the notification.
func (d *Delivery) whose(ctx context.Context, tx pgx.Tx, all []Suppression) error {
	var ids []kairos.ID
	for _, s := range all {
		if s.Contact.IsZero() && !s.Notification.IsZero() {
			ids = append(ids, s.Notification)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	rows, err := tx.Query(ctx, `SELECT id, contact FROM notifications WHERE id = ANY ($1::uuid[])`, ids)
	if err != nil {
		return fmt.Errorf("find contacts of notifications: %w", err)
	}
	people := map[kairos.ID]kairos.ID{}
	var id, contact kairos.ID
	_, err = pgx.ForEachRow(rows, []any{&id, &contact}, func() error {
		people[id] = contact
		return nil
	})
	if err != nil {
		return fmt.Errorf("find contacts of notifications: %w", err)
	}
	for i := range all {
		if all[i].Contact.IsZero() {
			all[i].Contact = people[all[i].Notification]
		}
	}
	return nil
}

// subscribe brings the unsubscriptions of the people concerned in line with
// everything that the log says of them: their last word counts, by the time
// they said it and not by the time it arrived.
func (d *Delivery) subscribe(ctx context.Context, tx pgx.Tx, events []kairos.Event, data []said) error {
	type who struct {
		contact kairos.ID
		channel string
	}
	var asked []Suppression
	for i, e := range events {
		if e.Kind == kairos.ContactUnsubscribed || e.Kind == kairos.ContactResubscribed {
			asked = append(asked, Suppression{Contact: e.Contact, Notification: e.Notification, Channel: channelOr(kairos.Channel(data[i].Channel))})
		}
	}
	if len(asked) == 0 {
		return nil
	}
	if err := d.whose(ctx, tx, asked); err != nil {
		return err
	}
	seen := map[who]bool{}
	var contacts []kairos.ID
	var channels []string
	for _, s := range asked {
		w := who{s.Contact, string(s.Channel)}
		if !s.Contact.IsZero() && !seen[w] {
			seen[w] = true
			contacts, channels = append(contacts, w.contact), append(channels, w.channel)
		}
	}
	if err := lockSuppressions(ctx, tx); err != nil {
		return err
	}
	rows, err := tx.Query(ctx, `
		WITH w AS (SELECT * FROM unnest($1::uuid[], $2::text[]) AS w(contact, channel)), said AS (
			SELECT w.contact, w.channel, e.kind, e.occurred_at, e.notification FROM w
			JOIN events e ON e.contact = w.contact AND e.kind IN ($3, $4) AND coalesce(e.data ->> 'channel', 'email') = w.channel
		), back AS (
			SELECT contact, channel, max(occurred_at) AS at FROM said WHERE kind = $4 GROUP BY 1, 2
		)
		SELECT w.contact, w.channel, b.at, s.occurred_at, s.notification
		FROM w LEFT JOIN back b USING (contact, channel)
		LEFT JOIN LATERAL (
			SELECT occurred_at, notification FROM said s
			WHERE s.contact = w.contact AND s.channel = w.channel AND s.kind = $3 AND (b.at IS NULL OR s.occurred_at > b.at)
			ORDER BY occurred_at, notification LIMIT 1) s ON true`,
		contacts, channels, kairos.ContactUnsubscribed, kairos.ContactResubscribed)
	if err != nil {
		return fmt.Errorf("read subscriptions: %w", err)
	}
	var off []Suppression
	var backContacts []kairos.ID
	var backChannels []string
	var backTimes []time.Time
	var contact, notification kairos.ID
	var channel string
	var back, at *time.Time
	_, err = pgx.ForEachRow(rows, []any{&contact, &channel, &back, &at, &notification}, func() error {
		if back != nil {
			backContacts, backChannels, backTimes = append(backContacts, contact), append(backChannels, channel), append(backTimes, *back)
		}
		if at != nil {
			off = append(off, Suppression{Channel: kairos.Channel(channel), Contact: contact, Scope: ScopeMarketing, Reason: Unsubscribed, Notification: notification, At: *at})
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read subscriptions: %w", err)
	}
	if err := unsuppress(ctx, tx, backContacts, backChannels, backTimes); err != nil {
		return err
	}
	return suppress(ctx, tx, off)
}
