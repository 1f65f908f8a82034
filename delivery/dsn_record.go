package delivery

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"kairos"
	"kairos/internal/eventlog"
	"kairos/internal/pg"
)

// Reasons why a message is not recorded as a bounce.
const (
	BounceNoReport  = "not_a_delivery_report" // a vacation reply, spam, or broken
	BounceNoFailure = "not_a_failure"         // it says that the message arrived
	BounceNoAttempt = "names_no_attempt"      // neither its recipient nor what it returns does
	BounceUnknown   = "unknown_attempt"       // of another installation, or invented
)

// Bounce is what became of a bounce message.
type Bounce struct {
	Recorded  bool
	Duplicate bool   // recorded before
	Reason    string // why it is not recorded: one of the constants
	Ref       kairos.AttemptRef
	Kind      string // kairos.NotificationBounced or kairos.NotificationDeferred
	Class     string // hard: the mailbox does not exist; soft
	Code      string // RFC 3463, "5.1.1"
}

// bounced is the event's data: no address.
type bounced struct {
	Source  string `json:"source"`
	Attempt string `json:"attempt,omitempty"`
	Class   string `json:"class"`
	Code    string `json:"code,omitempty"`
	Reason  string `json:"reason,omitempty"`
}

// TakeBounce records a delivery status notification (RFC 3464) as
// kairos.NotificationBounced or kairos.NotificationDeferred, which Feedback
// reads: the message had left, and a hard bounce suppresses the mailbox. to is
// the envelope recipient it was delivered to, "" where that is not known.
// Another message is no error and does nothing. Repeats are one event.
//
// Anybody may write such a message. It can therefore only speak of the attempt
// it names, and is hard only when it names the mailbox that the person has: one
// who was written to at a former address keeps the new one, and a guessed
// attempt harms nobody whose address is not known as well.
func (d *Delivery) TakeBounce(ctx context.Context, to string, message []byte) (Bounce, error) {
	if len(message) > MaxBounce {
		return Bounce{}, kairos.Invalid("body", "is larger than %d bytes", MaxBounce)
	}
	n, ok := parseDSN(message)
	if !ok {
		return Bounce{Reason: BounceNoReport}, nil
	}
	v := n.verdict()
	if v.kind == "" {
		return Bounce{Reason: BounceNoFailure}, nil
	}
	ref, ok := n.attempt(to)
	if !ok {
		return Bounce{Reason: BounceNoAttempt}, nil
	}
	out := Bounce{Ref: ref, Kind: v.kind, Class: v.class, Code: v.code}
	err := pg.InTx(ctx, byIndex{d}, func(tx pgx.Tx) error { return d.recordBounce(ctx, tx, n, &v, &out) })
	if err != nil {
		return Bounce{}, fmt.Errorf("record bounce: %w", err)
	}
	return out, nil
}

func (d *Delivery) recordBounce(ctx context.Context, tx pgx.Tx, n *dsn, v *bounceVerdict, out *Bounce) error {
	e := kairos.Event{Kind: v.kind, Notification: out.Ref.Notification}
	var email string
	var number *int32
	var started *time.Time
	err := tx.QueryRow(ctx, `
		SELECT n.campaign, n.contact, coalesce(lower(p.email), ''), a.number, a.started_at
		FROM notifications n LEFT JOIN contacts p ON p.id = n.contact
		LEFT JOIN LATERAL (
			SELECT number, started_at FROM attempts a WHERE a.notification = n.id AND a.campaign = n.campaign AND ($2 = 0 OR a.number <= $2)
			ORDER BY number DESC LIMIT 1) a ON true -- a later number was lost in a restore
		WHERE n.id = $1`, out.Ref.Notification, out.Ref.Number).Scan(&e.Campaign, &e.Contact, &email, &number, &started)
	none := errors.Is(err, pgx.ErrNoRows)
	if err != nil && !none {
		return fmt.Errorf("find attempt: %w", err)
	}
	if !none && number == nil { // a restored database may have forgotten it
		frozen, err := d.frozen(ctx)
		if err != nil {
			return err
		}
		none = !frozen
	}
	if none {
		*out = Bounce{Reason: BounceUnknown}
		return nil
	}
	if out.Ref.Number == 0 && number != nil {
		out.Ref.Number = *number
	}
	mailboxes := n.mailboxes()
	if out.Class == "hard" && (email == "" || !slices.Contains(mailboxes, email)) {
		out.Class = "soft"
	}
	facts := bounced{Source: "dsn", Class: out.Class, Code: out.Code, Reason: withoutAddresses(v.reason, append(mailboxes, email))}
	if out.Ref.Number > 0 {
		facts.Attempt = out.Ref.String()
	}
	if e.Data, err = json.Marshal(facts); err != nil {
		return err
	}
	e.OccurredAt = n.at(started, d.clock.Now())
	e.ID = kairos.NewIDAt(e.OccurredAt)
	sum := sha256.Sum256([]byte(strings.Join([]string{"dsn", facts.Attempt, facts.Class, facts.Code}, "\n")))
	e.Key = hex.EncodeToString(sum[:16])
	fresh, err := eventlog.AppendKeyed(ctx, tx, e)
	if err != nil {
		return err
	}
	out.Recorded, out.Duplicate = true, fresh == 0
	return nil
}
