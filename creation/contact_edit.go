package creation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"kairos"
	"kairos/internal/eventlog"
	"kairos/internal/pg"
)

// ContactPatch is a JSON merge patch (RFC 7396) of a contact: a name that is
// absent is left alone, null removes. Names are those of ContactInput; the
// attributes are an object that is merged the same way, one level deep.
type ContactPatch map[string]json.RawMessage

// PatchContact changes a person. ErrConflict: erased, or the new address or
// external id belongs to somebody else.
func (c *Creation) PatchContact(ctx context.Context, id kairos.ID, patch ContactPatch) (Contact, error) {
	values := map[int]*string{}
	var set string
	var gone []string
	wipe := false
	for _, name := range slices.Sorted(maps.Keys(patch)) {
		raw := patch[name]
		if name == "attributes" {
			var err error
			if wipe = string(raw) == "null"; wipe {
				continue
			}
			if set, gone, err = splitAttributes(raw); err != nil {
				return Contact{}, err
			}
			continue
		}
		field := slices.Index(fieldNames[:], name)
		if field < 0 {
			return Contact{}, kairos.Invalid(printable(name), "is not a field of a contact")
		}
		v, err := patchText(name, raw)
		if err == nil && v != nil {
			err = c.checkField(field, *v)
		}
		if err != nil {
			return Contact{}, err
		}
		values[field] = v
	}
	return c.editContact(ctx, id, func(tx pgx.Tx, p *Contact, now time.Time) error {
		text := [fieldCount]string{p.ExternalID, p.Email, p.Phone, p.FirstName, p.LastName, p.Locale, p.Timezone, p.Region}
		for field, v := range values {
			text[field] = ""
			if v != nil {
				text[field] = *v
			}
		}
		if text[fieldEmail] == "" && text[fieldExternalID] == "" {
			return kairos.Invalid("email", "or external_id must stay")
		}
		if set == "" {
			set = "{}"
		}
		if gone == nil {
			gone = []string{}
		}
		_, err := tx.Exec(ctx, `
			UPDATE contacts SET external_id = nullif($2, ''), email = nullif($3, ''), email_key = nullif($4, ''), phone = nullif($5, ''),
				first_name = nullif($6, ''), last_name = nullif($7, ''), locale = nullif($8, ''), timezone = nullif($9, ''),
				region = nullif($10, ''), attributes = (CASE WHEN $13 THEN '{}' ELSE attributes END - $12::text[]) || $11::jsonb, updated_at = $14
			WHERE id = $1`,
			id, text[fieldExternalID], text[fieldEmail], strings.ToLower(text[fieldEmail]), text[fieldPhone], text[fieldFirstName],
			text[fieldLastName], text[fieldLocale], text[fieldTimezone], text[fieldRegion], set, gone, wipe, now)
		if err != nil && unstorable(err) {
			return kairos.Invalid("attributes", "holds a value that can't be stored")
		}
		if err != nil {
			return fmt.Errorf("patch contact %s: %w", id, err)
		}
		return nil
	})
}

// patchText reads a string or null; "" is null.
func patchText(name string, raw json.RawMessage) (*string, error) {
	if string(raw) == "null" {
		return nil, nil
	}
	var v string
	if err := json.Unmarshal(raw, &v); err != nil {
		return nil, kairos.Invalid(name, "is not a string")
	}
	if v = strings.TrimSpace(v); v == "" {
		return nil, nil
	}
	return &v, nil
}

// printable shortens a name that a caller made up so that it may be shown.
func printable(name string) string {
	if len(name) > 40 || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "a name"
	}
	return name
}

// SetPreferences replaces what the person asked for and records it.
func (c *Creation) SetPreferences(ctx context.Context, id kairos.ID, p kairos.Preferences) (Contact, error) {
	if err := p.Validate(); err != nil {
		return Contact{}, err
	}
	raw, err := json.Marshal(p)
	if err != nil {
		return Contact{}, fmt.Errorf("marshal preferences: %w", err)
	}
	if len(raw) > maxAttributes || strings.Contains(string(raw), `\u0000`) {
		return Contact{}, kairos.Invalid("preferences", "are too long or hold a character that can't be stored")
	}
	return c.editContact(ctx, id, func(tx pgx.Tx, _ *Contact, now time.Time) error {
		if _, err := tx.Exec(ctx, `UPDATE contacts SET preferences = $2, updated_at = $3 WHERE id = $1`, id, string(raw), now); err != nil {
			return fmt.Errorf("set preferences of %s: %w", id, err)
		}
		_, err := eventlog.Append(ctx, tx, kairos.Event{
			Kind: kairos.ContactPreferred, Contact: id, Key: kairos.NewID().String(), OccurredAt: now, Data: raw,
		})
		return err
	})
}

// EraseContact removes the person's data; the row stays for the counts, a
// suppression of the address stays in force. Repeating it changes nothing.
func (c *Creation) EraseContact(ctx context.Context, id kairos.ID) error {
	now := c.clock.Now()
	return pg.InTx(ctx, c.pool, func(tx pgx.Tx) error {
		p, err := lockContact(ctx, tx, id, "FOR NO KEY UPDATE")
		if err != nil || p.ErasedAt != nil {
			return err
		}
		_, err = tx.Exec(ctx, `
			UPDATE contacts SET external_id = NULL, email = NULL, email_key = NULL, phone = NULL, first_name = NULL, last_name = NULL,
				locale = NULL, timezone = NULL, region = NULL, attributes = '{}', preferences = '{}', updated_at = $2, erased_at = $2
			WHERE id = $1`, id, now)
		if err != nil {
			return fmt.Errorf("erase contact %s: %w", id, err)
		}
		_, err = eventlog.Append(ctx, tx, kairos.Event{Kind: kairos.ContactErased, Contact: id, OccurredAt: now})
		return err
	})
}

// ContactByExternalID finds a person by the caller's own name for them.
func (c *Creation) ContactByExternalID(ctx context.Context, externalID string) (Contact, error) {
	rows, err := c.pool.Query(ctx, `SELECT `+contactColumns+` FROM contacts WHERE external_id = $1`, externalID)
	if err != nil {
		return Contact{}, fmt.Errorf("find contact: %w", err)
	}
	p, err := pgx.CollectExactlyOneRow(rows, scanContact)
	if errors.Is(err, pgx.ErrNoRows) {
		return Contact{}, fmt.Errorf("contact with this external_id: %w", kairos.ErrNotFound)
	}
	return p, err
}
