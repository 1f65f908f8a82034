package orchestration

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"kairos"
	"kairos/internal/eventlog"
)

// forgetReader is the name of Forget's cursor in the log.
const forgetReader = "orchestration.erasures"

// Forget removes the values of transactional messages to people whose data was
// erased since the last call; the rows and their counts stay. The leader calls
// it each second.
func (o *Orchestration) Forget(ctx context.Context) error {
	err := eventlog.Drain(ctx, o.pool, forgetReader, eventlog.Filter{Kinds: []string{kairos.ContactErased}}, forget)
	if err != nil {
		return fmt.Errorf("forget erased people: %w", err)
	}
	return nil
}

func forget(ctx context.Context, tx pgx.Tx, events []kairos.Event) error {
	people := make([]kairos.ID, len(events))
	for i, e := range events {
		people[i] = e.Contact
	}
	_, err := tx.Exec(ctx, `
		UPDATE notifications n SET data = NULL FROM campaigns c
		WHERE c.kind = 'transactional' AND n.campaign = c.id AND n.contact = ANY ($1) AND n.data IS NOT NULL`, people)
	return err
}
