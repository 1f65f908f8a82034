package spool

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
)

// A shipper that stops half-way, or whose commit fails, gets the same segment again.
func TestShippingRepeats(t *testing.T) {
	s := open(t, Options{MaxAge: time.Hour})
	add(t, s, 0, 10)
	s.Seal()
	stop := errors.New("database is away")
	for range 3 {
		seg, err := s.Next(t.Context())
		require.NoError(t, err)
		n := 0
		require.Equal(t, stop, seg.Records(func(kairos.ID, []byte) error {
			if n++; n == 5 {
				return stop
			}
			return nil
		}))
		require.Equal(t, 5, n)
	}
	requireExactly(t, drain(t, s), 0, 10)
}

func TestNextWaits(t *testing.T) {
	s := open(t, Options{MaxAge: 30 * time.Millisecond})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err := s.Next(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)

	began := time.Now()
	add(t, s, 0, 1)
	seg, err := s.Next(t.Context())
	require.NoError(t, err)
	require.GreaterOrEqual(t, time.Since(began), 25*time.Millisecond, "sealed before its time")

	// While one segment waits, the next is not sealed by age, and is at once
	// when its turn comes.
	add(t, s, 1, 2)
	eventually(t, "second segment of age", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return time.Since(s.active.began) > 2*s.opts.MaxAge
	})
	add(t, s, 2, 4) // the writer has looked around once between these two
	require.Len(t, files(t, s.opts.Dir, "*.seg"), 1)
	require.NoError(t, seg.Remove())
	seg, err = s.Next(t.Context())
	require.NoError(t, err)
	require.NoError(t, seg.Remove())
	require.Zero(t, s.Stats().Segments)
}

// Sealing by age goes on under a load that never lets the writer rest.
func TestSealsUnderLoad(t *testing.T) {
	s := open(t, Options{MaxAge: 20 * time.Millisecond})
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for n := g; ctx.Err() == nil; n += 8 {
				_ = s.Append(ctx, nth(n), payloadOf(nth(n)))
			}
		})
	}
	for range 5 {
		seg, err := s.Next(t.Context())
		require.NoError(t, err)
		require.NoError(t, seg.Remove())
	}
	stop()
	wg.Wait()
}
