package spool

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"kairos"
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		child()
		return
	}
	goleak.VerifyTestMain(m)
}

func open(t testing.TB, opts Options) *Spool {
	t.Helper()
	if opts.Dir == "" {
		opts.Dir = t.TempDir()
	}
	s, err := Open(opts)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// nth is a stable id; payloadOf is what every test appends under an id.
func nth(n int) (id kairos.ID) {
	binary.BigEndian.PutUint64(id[8:], uint64(n+1))
	id[6] = 0x70
	return id
}

func payloadOf(id kairos.ID) []byte {
	n := int(binary.BigEndian.Uint64(id[8:]))
	out := fmt.Appendf(nil, "payload of %s ", id)
	for i := range n * 37 % 211 {
		out = append(out, byte(i*n))
	}
	return out
}

func add(t testing.TB, s *Spool, from, to int) {
	t.Helper()
	for n := from; n < to; n++ {
		require.NoError(t, s.Append(t.Context(), nth(n), payloadOf(nth(n))))
	}
}

// drain ships everything that is in the spool and returns how often each id came.
func drain(t testing.TB, s *Spool) map[kairos.ID]int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	got := map[kairos.ID]int{}
	for s.Stats().Segments > 0 {
		s.Seal()
		seg, err := s.Next(ctx)
		require.NoError(t, err)
		require.NoError(t, seg.Records(func(id kairos.ID, payload []byte) error {
			require.Equal(t, payloadOf(id), payload)
			got[id]++
			return nil
		}))
		require.NoError(t, seg.Remove())
	}
	return got
}

func requireExactly(t testing.TB, got map[kairos.ID]int, from, to int) {
	t.Helper()
	for n := from; n < to; n++ {
		require.Equal(t, 1, got[nth(n)], "record %d", n)
	}
	require.Len(t, got, to-from)
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		require.True(t, time.Now().Before(end), "never: %s", what)
	}
}

func files(t testing.TB, dir, pattern string) []string {
	t.Helper()
	out, err := filepath.Glob(filepath.Join(dir, pattern))
	require.NoError(t, err)
	return out
}

func TestAppendShipRemove(t *testing.T) {
	s := open(t, Options{MaxAge: time.Hour})
	add(t, s, 0, 100)
	require.True(t, s.Writable())
	st := s.Stats()
	require.EqualValues(t, 100, st.Appended)
	require.Equal(t, 1, st.Segments)
	require.Positive(t, st.Bytes)
	require.Positive(t, st.Syncs)
	require.Positive(t, st.OldestSegmentAge)

	requireExactly(t, drain(t, s), 0, 100)
	require.Empty(t, files(t, s.opts.Dir, "0*"))
	requireBytes(t, s)
	st = s.Stats()
	require.Zero(t, st.Bytes)
	require.Zero(t, st.OldestSegmentAge)
	add(t, s, 100, 110)
	requireExactly(t, drain(t, s), 100, 110)

	s.CountDropped(3)
	require.EqualValues(t, 3, s.Stats().Dropped)
}

func TestAppendMany(t *testing.T) {
	s := open(t, Options{})
	var batch []Record
	for n := range 1000 {
		batch = append(batch, Record{nth(n), payloadOf(nth(n))})
	}
	require.NoError(t, s.AppendMany(t.Context(), batch))
	require.EqualValues(t, 1, s.Stats().Syncs)
	require.NoError(t, s.AppendMany(t.Context(), nil))
	requireExactly(t, drain(t, s), 0, 1000)
}

func TestReopenKeepsOrderAndRecords(t *testing.T) {
	dir := t.TempDir()
	for round := range 5 {
		s := open(t, Options{Dir: dir, SegmentBytes: 2000, MaxAge: time.Hour})
		add(t, s, round*50, round*50+50)
		require.NoError(t, s.Close())
		require.NoError(t, s.Close())
		require.Empty(t, files(t, dir, "*.open"))
	}
	s := open(t, Options{Dir: dir})
	require.Greater(t, s.Stats().Segments, 10)
	var order []kairos.ID
	for s.Stats().Segments > 0 {
		seg, err := s.Next(t.Context())
		require.NoError(t, err)
		require.LessOrEqual(t, seg.Bytes(), int64(2000))
		require.NoError(t, seg.Records(func(id kairos.ID, _ []byte) error { order = append(order, id); return nil }))
		require.NoError(t, seg.Remove())
		require.NoError(t, seg.Remove(), "a second time does nothing")
	}
	require.Len(t, order, 250)
	for n, id := range order {
		require.Equal(t, nth(n), id)
	}
}

func TestClose(t *testing.T) {
	s := open(t, Options{})
	waiting := make(chan error)
	go func() {
		_, err := s.Next(context.Background())
		waiting <- err
	}()
	add(t, s, 0, 5)
	seg, err := s.Next(t.Context())
	require.NoError(t, err)
	require.NoError(t, <-waiting)
	require.NoError(t, s.Close())
	require.ErrorIs(t, s.Append(t.Context(), nth(9), nil), ErrClosed)
	require.ErrorIs(t, ErrClosed, kairos.ErrUnavailable)
	require.False(t, s.Writable())
	_, err = s.Next(t.Context())
	require.ErrorIs(t, err, ErrClosed)
	require.ErrorIs(t, seg.Remove(), ErrClosed)
	requireExactly(t, drain(t, open(t, Options{Dir: s.opts.Dir})), 0, 5)
}

func TestCloseWakesNext(t *testing.T) {
	s := open(t, Options{})
	waiting := make(chan error, 1)
	go func() {
		_, err := s.Next(context.Background())
		waiting <- err
	}()
	require.NoError(t, s.Close())
	require.ErrorIs(t, <-waiting, ErrClosed)
}

// Every append that races with Close is either acknowledged and kept, or refused.
func TestCloseUnderLoad(t *testing.T) {
	for range 10 {
		s := open(t, Options{})
		var mu sync.Mutex
		acked := map[kairos.ID]bool{}
		var wg sync.WaitGroup
		for g := range 16 {
			wg.Go(func() {
				for n := g; ; n += 16 {
					if err := s.Append(context.Background(), nth(n), payloadOf(nth(n))); err != nil {
						if !errors.Is(err, ErrClosed) {
							t.Errorf("append: %v", err)
						}
						return
					}
					mu.Lock()
					acked[nth(n)] = true
					mu.Unlock()
				}
			})
		}
		eventually(t, "some are acknowledged", func() bool { return s.Stats().Appended > 100 })
		require.NoError(t, s.Close())
		wg.Wait()
		got := drain(t, open(t, Options{Dir: s.opts.Dir}))
		require.Len(t, got, len(acked))
		for id := range acked {
			require.Equal(t, 1, got[id])
		}
	}
}

func TestTwoOpensOfOneDirectory(t *testing.T) {
	s := open(t, Options{})
	_, err := Open(Options{Dir: s.opts.Dir})
	require.ErrorIs(t, err, ErrInUse)
	require.ErrorContains(t, err, fmt.Sprintf("%q", fmt.Sprint(os.Getpid())))
	add(t, s, 0, 3)
	require.NoError(t, s.Close())
	requireExactly(t, drain(t, open(t, Options{Dir: s.opts.Dir})), 0, 3)
}

func TestRefusals(t *testing.T) {
	s := open(t, Options{MaxBytes: 10_000})
	require.ErrorIs(t, s.Append(t.Context(), kairos.ID{}, nil), kairos.ErrInvalid)
	require.ErrorIs(t, s.Append(t.Context(), nth(0), make([]byte, MaxPayload+1)), kairos.ErrInvalid)
	many := make([]Record, 40)
	for i := range many {
		many[i] = Record{nth(i), make([]byte, MaxPayload)}
	}
	require.ErrorIs(t, s.AppendMany(t.Context(), many), kairos.ErrInvalid)

	n := 0
	for ; s.Append(t.Context(), nth(n), payloadOf(nth(n))) == nil; n++ {
		require.Less(t, n, 1000)
	}
	err := s.Append(t.Context(), nth(n), payloadOf(nth(n)))
	require.ErrorIs(t, err, ErrFull)
	require.ErrorIs(t, err, kairos.ErrUnavailable)
	require.False(t, s.Writable())
	require.LessOrEqual(t, s.Stats().Bytes, int64(10_000+headerLen))
	requireExactly(t, drain(t, s), 0, n)
	require.True(t, s.Writable(), "shipping makes room")
	add(t, s, n, n+10)

	for _, opts := range []Options{{}, {Dir: "x", SegmentBytes: -1}, {Dir: "x", MaxAge: -1}, {Dir: "x", MaxBytes: -1}} {
		_, err := Open(opts)
		require.ErrorIs(t, err, kairos.ErrInvalid)
	}
}

func TestLargestPayload(t *testing.T) {
	s := open(t, Options{SegmentBytes: 1000})
	want := make([]byte, MaxPayload)
	for i := range want {
		want[i] = byte(i * i)
	}
	require.NoError(t, s.Append(t.Context(), nth(0), want))
	require.NoError(t, s.Append(t.Context(), nth(1), nil))
	var got [][]byte
	for s.Stats().Segments > 0 {
		s.Seal()
		seg, err := s.Next(t.Context())
		require.NoError(t, err)
		require.NoError(t, seg.Records(func(_ kairos.ID, p []byte) error { got = append(got, append([]byte{}, p...)); return nil }))
		require.NoError(t, seg.Remove())
	}
	require.Equal(t, [][]byte{want, {}}, got)
}

func TestContextEndsTheWait(t *testing.T) {
	release := make(chan struct{})
	s := open(t, Options{Fault: func(op Op, _ string) error {
		if op == OpSync {
			<-release
		}
		return nil
	}})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, s.Append(ctx, nth(0), payloadOf(nth(0))), context.DeadlineExceeded)
	require.Zero(t, s.Stats().Appended)
	close(release)
	eventually(t, "the record is written all the same", func() bool { return s.Stats().Appended == 1 })
	requireExactly(t, drain(t, s), 0, 1)
}

// Neither the first record of a segment nor a later one is acknowledged while
// a sync, or the sync of the directory, has not returned.
func TestAcknowledgedOnlyAfterSync(t *testing.T) {
	for _, op := range []Op{OpSync, OpSyncDir} {
		for _, before := range []int{0, 3} {
			if op == OpSyncDir && before > 0 {
				continue // the name of a segment needs that once
			}
			var armed atomic.Bool
			reached, release := make(chan struct{}), make(chan struct{})
			s := open(t, Options{MaxAge: time.Hour, Fault: func(at Op, _ string) error {
				if at == op && armed.CompareAndSwap(true, false) {
					close(reached)
					<-release
				}
				return nil
			}})
			add(t, s, 0, before)
			armed.Store(true)
			acked := make(chan error, 1)
			go func() { acked <- s.Append(context.Background(), nth(before), payloadOf(nth(before))) }()
			select {
			case <-reached:
			case err := <-acked:
				require.FailNow(t, "acknowledged without "+string(op), "%v", err)
			}
			require.Empty(t, acked)
			require.EqualValues(t, before, s.Stats().Appended)
			close(release)
			require.NoError(t, <-acked)
			requireExactly(t, drain(t, s), 0, before+1)
		}
	}
}

func TestPermissions(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	s := open(t, Options{Dir: dir})
	add(t, s, 0, 1)
	st, err := os.Stat(dir)
	require.NoError(t, err)
	require.EqualValues(t, 0o700, st.Mode().Perm())
	for _, name := range files(t, dir, "0*") {
		st, err := os.Stat(name)
		require.NoError(t, err)
		require.EqualValues(t, 0o600, st.Mode().Perm())
	}
}
