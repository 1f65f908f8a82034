package delivery

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"kairos"
	"kairos/internal/pg"
)

// Scopes of a suppression.
const (
	ScopeAll       = "all"       // binds every message
	ScopeMarketing = "marketing" // binds campaigns that need consent
)

// Reasons of a suppression.
const (
	Bounced      = "bounced"      // the mailbox does not exist
	Complained   = "complained"   // the person called a message spam
	Unsubscribed = "unsubscribed" // the person wants no more marketing
	Manual       = "manual"       // an operator's wish
)

// Suppression says whom not to write to. A bounce binds the address alone: the
// person may have a new one. Everything else binds the person too, whatever
// address comes later.
type Suppression struct {
	Channel      kairos.Channel // default Email
	Contact      kairos.ID      // the person; zero: that of Notification, or only the address
	Address      string         // the mailbox; "": that of Contact
	Hash         []byte         // instead of Address: sha256 of it in lower case
	Scope        string         // ScopeAll or ScopeMarketing
	Reason       string
	Notification kairos.ID // what caused it, if one did; names the person too
	At           time.Time // domain time
}

// Suppress records suppressions and returns when they bind: no attempt begins
// for these people after it has returned. Repeats and any order of the same
// set give the same rows.
func (d *Delivery) Suppress(ctx context.Context, all ...Suppression) error {
	for i := range all {
		s := &all[i]
		if s.Contact.IsZero() && s.Notification.IsZero() && s.Address == "" && len(s.Hash) == 0 {
			return fmt.Errorf("suppress: %w", kairos.Invalid("contact", "or a notification or an address is needed"))
		}
		if s.Scope != ScopeAll && s.Scope != ScopeMarketing {
			return fmt.Errorf("suppress: %w", kairos.Invalid("scope", "must be all or marketing"))
		}
		if s.Reason == "" {
			s.Reason = Manual
		}
		if s.At.IsZero() {
			s.At = d.clock.Now()
		}
	}
	return pg.InTx(ctx, byIndex{d}, func(tx pgx.Tx) error {
		if err := d.whose(ctx, tx, all); err != nil {
			return err
		}
		for _, s := range all {
			if s.Contact.IsZero() && s.Address == "" && len(s.Hash) == 0 {
				return fmt.Errorf("suppress person of notification %s: %w", s.Notification, kairos.ErrNotFound)
			}
		}
		if err := lockSuppressions(ctx, tx); err != nil {
			return err
		}
		return suppress(ctx, tx, all)
	})
}

// Unsuppress takes back what a person had asked for (Unsubscribed) up to a
// moment; bounces and complaints stay.
func (d *Delivery) Unsuppress(ctx context.Context, contact kairos.ID, channel kairos.Channel, at time.Time) error {
	return pg.InTx(ctx, byIndex{d}, func(tx pgx.Tx) error {
		return unsuppress(ctx, tx, []kairos.ID{contact}, []string{string(channel)}, []time.Time{at})
	})
}

// lockSuppressions waits for the markings under way and holds back the next
// ones until the commit.
func lockSuppressions(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(suppressionLock)); err != nil {
		return fmt.Errorf("lock suppressions: %w", err)
	}
	return nil
}

// suppress upserts. Of two rows for one address the merged one is the same
// whichever came first: the earlier cause, and any person. Who shares the
// address with another person gets a row of their own, and so does a person
// without an address; its key can't be an address.
func suppress(ctx context.Context, tx pgx.Tx, all []Suppression) error {
	if len(all) == 0 {
		return nil
	}
	n := len(all)
	channels, hashes, scopes, contacts := make([]string, n), make([][]byte, n), make([]string, n), make([]kairos.ID, n)
	reasons, notifications, times := make([]string, n), make([]kairos.ID, n), make([]time.Time, n)
	for i, s := range all {
		hashes[i] = s.Hash
		if s.Address != "" {
			hashes[i] = addressHash(strings.TrimSpace(s.Address))
		}
		channels[i], scopes[i], contacts[i] = string(channelOr(s.Channel)), s.Scope, s.Contact
		reasons[i], notifications[i], times[i] = s.Reason, s.Notification, s.At
	}
	_, err := tx.Exec(ctx, `
		WITH given AS (
			SELECT g.*, p.email FROM unnest($1::text[], $2::bytea[], $3::text[], $4::uuid[], $5::text[], $6::uuid[], $7::timestamptz[])
				AS g(channel, hash, scope, contact, reason, notification, at)
			LEFT JOIN contacts p ON p.id = g.contact
		), rows AS (
			SELECT channel, coalesce(hash, sha256(convert_to(lower(email), 'UTF8'))) AS address, scope,
			       CASE WHEN reason <> 'bounced' THEN contact END AS contact, reason, notification, at FROM given
			UNION ALL -- the person, for ever
			SELECT channel, sha256(convert_to('contact:' || contact, 'UTF8')), scope, contact, reason, notification, at FROM given
			WHERE contact IS NOT NULL AND reason <> 'bounced'
		), one AS (
			SELECT DISTINCT ON (channel, address, scope) channel, address, scope, contact, reason, notification, at
			FROM rows WHERE address IS NOT NULL ORDER BY channel, address, scope, at, reason, notification
		)
		INSERT INTO suppressions AS s (channel, address, scope, contact, reason, notification, created_at)
		SELECT channel, address, scope, contact, reason, notification, at FROM one
		ON CONFLICT (channel, address, scope) DO UPDATE SET contact = excluded.contact, reason = excluded.reason,
			notification = excluded.notification, created_at = excluded.created_at
		WHERE (excluded.created_at, excluded.reason, coalesce(excluded.notification, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
		    < (s.created_at, s.reason, coalesce(s.notification, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))`,
		channels, hashes, scopes, contacts, reasons, notifications, times)
	if err != nil {
		return fmt.Errorf("suppress: %w", err)
	}
	return nil
}

// unsuppress deletes unsubscriptions made up to a moment, of the persons and
// of the addresses they have.
func unsuppress(ctx context.Context, tx pgx.Tx, contacts []kairos.ID, channels []string, until []time.Time) error {
	if len(contacts) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, `
		DELETE FROM suppressions s USING (
			SELECT g.*, sha256(convert_to(lower(p.email), 'UTF8')) AS hash
			FROM unnest($1::uuid[], $2::text[], $3::timestamptz[]) AS g(contact, channel, until)
			LEFT JOIN contacts p ON p.id = g.contact) g
		WHERE s.channel = g.channel AND s.scope = 'marketing' AND s.reason = 'unsubscribed' AND s.created_at <= g.until
		  AND (s.contact = g.contact OR s.address = g.hash)`, contacts, channels, until)
	if err != nil {
		return fmt.Errorf("take suppressions back: %w", err)
	}
	return nil
}

func channelOr(c kairos.Channel) kairos.Channel {
	if c == "" {
		return kairos.Email
	}
	return c
}
