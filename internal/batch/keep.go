package batch

import (
	"context"
	"errors"
	"time"

	"kairos"
)

// Lease is how long a claim lasts without being extended. Together with the
// reconciler's period it bounds the take-over after a kill to 15 s.
const Lease = 8 * time.Second

// Keep extends the claim every quarter of the lease until stop is called, and
// cancels the returned context when the batch is lost: fenced off, or not
// extended for a whole lease (a stopped process, an unreachable database). The
// cause of the cancellation is ErrFenced. Work done under the context stops
// before another holder can begin.
func Keep(ctx context.Context, db DB, ref kairos.Ref, owner string, lease time.Duration) (held context.Context, stop func()) {
	held, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(lease / 4)
		defer tick.Stop()
		extended := time.Now()
		for {
			select {
			case <-held.Done():
				return
			case <-tick.C:
			}
			if time.Since(extended) > lease {
				cancel(ErrFenced)
				return
			}
			at := time.Now()
			try, end := context.WithTimeout(held, lease/2)
			err := Extend(try, db, ref, owner, lease)
			end()
			switch {
			case err == nil:
				extended = at
			case errors.Is(err, ErrFenced):
				cancel(ErrFenced)
				return
			case time.Since(extended) > lease*3/4:
				cancel(ErrFenced)
				return
			}
		}
	}()
	return held, func() { cancel(context.Canceled); <-done }
}
