package creation

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"kairos"
	"kairos/internal/eventlog"
)

// learnReader is the name of Learn's cursor in the log.
const learnReader = "creation.preferences"

// Learn takes over what people stated on the preference page since the last
// call: each event's data is laid over their preferences, field by field, in
// the log's order. The leader calls it each second.
func (c *Creation) Learn(ctx context.Context) error {
	err := eventlog.Drain(ctx, c.pool, learnReader, eventlog.Filter{Kinds: []string{kairos.ContactPreferred}}, c.learn)
	if err != nil {
		return fmt.Errorf("learn preferences: %w", err)
	}
	return nil
}

func (c *Creation) learn(ctx context.Context, tx pgx.Tx, events []kairos.Event) error {
	latest := map[kairos.ID]map[string]json.RawMessage{}
	for _, e := range events {
		// What the API set is in the contact already and names no notification.
		if e.Notification.IsZero() || e.Contact.IsZero() {
			continue
		}
		var stated kairos.Preferences
		var fields map[string]json.RawMessage
		if json.Unmarshal(e.Data, &stated) != nil || stated.Validate() != nil || json.Unmarshal(e.Data, &fields) != nil {
			continue // makes no sense: stays in the log, changes nothing
		}
		if latest[e.Contact] == nil {
			latest[e.Contact] = map[string]json.RawMessage{}
		}
		for _, name := range []string{"channels", "topics", "preferred_hours", "quiet_hours"} {
			if v, said := fields[name]; said {
				latest[e.Contact][name] = v
			}
		}
	}
	var ids []kairos.ID
	var preferences []string
	for id, fields := range latest {
		raw, err := json.Marshal(fields)
		if err != nil {
			return err
		}
		ids, preferences = append(ids, id), append(preferences, string(raw))
	}
	_, err := tx.Exec(ctx, `
		UPDATE contacts c SET preferences = c.preferences || p.stated, updated_at = $3
		FROM unnest($1::uuid[], $2::jsonb[]) AS p(id, stated) WHERE c.id = p.id AND c.erased_at IS NULL`,
		ids, preferences, c.clock.Now().UTC().Truncate(time.Microsecond))
	return err
}
