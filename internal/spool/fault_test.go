package spool

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
)

// faults is a disk that fails on command and remembers which files it synced
// after a failure.
type faults struct {
	mu      sync.Mutex
	failing map[Op]error
	times   map[Op]int // how often still; absent means always
	failed  map[string]bool
	again   []string // synced after their sync had failed
}

func (f *faults) hook(op Op, path string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if op == OpSync && f.failed[path] {
		f.again = append(f.again, path)
	}
	err := f.failing[op]
	if err == nil {
		return nil
	}
	if n, limited := f.times[op]; limited {
		if n == 0 {
			return nil
		}
		f.times[op] = n - 1
	}
	if op == OpSync {
		if f.failed == nil {
			f.failed = map[string]bool{}
		}
		f.failed[path] = true
	}
	return err
}

func (f *faults) set(op Op, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failing, f.times = map[Op]error{op: err}, nil
}

func (f *faults) setTimes(op Op, err error, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failing, f.times = map[Op]error{op: err}, map[Op]int{op: n}
}

// requireBytes compares Stats.Bytes with the segments; nothing may be on its way.
func requireBytes(t *testing.T, s *Spool) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var want int64
	for _, seg := range s.sealed {
		want += seg.size
	}
	if s.active != nil {
		want += s.active.size
	}
	require.Equal(t, want, s.bytes)
}

// One failure is not seen by the caller: the group goes into a new segment.
func TestOneFailureIsHidden(t *testing.T) {
	for _, op := range []Op{OpWrite, OpSync} {
		t.Run(string(op), func(t *testing.T) {
			var f faults
			s := open(t, Options{MaxAge: time.Hour, Fault: f.hook})
			add(t, s, 0, 10)
			f.setTimes(op, syscall.EIO, 1)
			add(t, s, 10, 20)
			require.True(t, s.Writable())
			require.Len(t, files(t, s.opts.Dir, "0*"), 2, "the segment was retired")
			requireExactly(t, drain(t, s), 0, 20)
			require.Empty(t, f.again, "never synced again")
			require.Zero(t, s.Stats().Quarantined)
		})
	}
}

// A disk that keeps failing refuses appends, keeps what it acknowledged and
// comes back by itself.
func TestFailureAndRecovery(t *testing.T) {
	for _, op := range []Op{OpWrite, OpSync, OpCreate, OpSyncDir} {
		for _, cut := range []error{nil, syscall.EROFS} {
			t.Run(string(op), func(t *testing.T) {
				var f faults
				s := open(t, Options{MaxAge: time.Hour, Fault: f.hook})
				if op != OpCreate && op != OpSyncDir {
					add(t, s, 0, 10)
				}
				f.mu.Lock()
				f.failing = map[Op]error{op: syscall.EIO, OpCut: cut, OpRemove: cut}
				f.mu.Unlock()
				err := s.Append(t.Context(), nth(500), payloadOf(nth(500)))
				require.ErrorIs(t, err, ErrNotDurable)
				require.ErrorIs(t, err, kairos.ErrUnavailable)
				require.ErrorIs(t, err, syscall.EIO)
				require.False(t, s.Writable())
				require.ErrorIs(t, s.Append(t.Context(), nth(501), payloadOf(nth(501))), ErrNotDurable)
				require.EqualValues(t, 2, s.Stats().Failed)

				f.set(op, nil)
				began := time.Now()
				eventually(t, "writable again", s.Writable)
				require.Less(t, time.Since(began), 2*time.Second)
				add(t, s, 10, 20)
				requireBytes(t, s)
				dir := s.opts.Dir
				require.NoError(t, s.Close())
				require.Empty(t, f.again, "never synced again")

				s = open(t, Options{Dir: dir})
				got := drain(t, s)
				delete(got, nth(500)) // may be there or not
				if op == OpCreate || op == OpSyncDir {
					requireExactly(t, got, 10, 20)
				} else {
					requireExactly(t, got, 0, 20)
				}
				require.Zero(t, s.Stats().Bytes)
			})
		}
	}
}

// The segment of a successful new try that no record came to leaves nothing.
func TestEmptySegmentIsRemoved(t *testing.T) {
	var f faults
	s := open(t, Options{MaxAge: time.Hour, Fault: f.hook})
	f.set(OpSync, syscall.EIO)
	require.ErrorIs(t, s.Append(t.Context(), nth(0), payloadOf(nth(0))), ErrNotDurable)
	f.set(OpSync, nil)
	eventually(t, "writable again", s.Writable)
	require.Len(t, files(t, s.opts.Dir, "0*"), 1)
	require.Zero(t, s.Stats().Segments)
	s.Seal()
	eventually(t, "removed", func() bool { return len(files(t, s.opts.Dir, "0*")) == 0 })
	eventually(t, "not counted", func() bool { return s.Stats().Bytes == 0 })
}

// Appends under a disk that fails at random: every acknowledged one is there.
func TestFailuresUnderLoad(t *testing.T) {
	var turn atomic.Uint64
	s := open(t, Options{SegmentBytes: 20_000, MaxAge: 2 * time.Millisecond, Fault: func(op Op, _ string) error {
		n := turn.Add(1)
		switch {
		case op == OpSync && n%7 == 0, op == OpWrite && n%11 == 0:
			return syscall.EIO
		case n%13 == 0:
			return syscall.ENOSPC
		}
		return nil
	}})
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	acked := map[kairos.ID]bool{}
	shipped := map[kairos.ID]bool{}
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for n := g; ctx.Err() == nil; n += 16 {
				err := s.Append(context.Background(), nth(n), payloadOf(nth(n)))
				switch {
				case err == nil:
					mu.Lock()
					acked[nth(n)] = true
					mu.Unlock()
				case !errors.Is(err, ErrNotDurable):
					t.Errorf("append: %v", err)
				default:
					time.Sleep(time.Millisecond)
				}
			}
		})
	}
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		seg, err := s.Next(t.Context())
		require.NoError(t, err)
		require.NoError(t, seg.Records(func(id kairos.ID, p []byte) error {
			require.Equal(t, payloadOf(id), p)
			shipped[id] = true
			return nil
		}))
		_ = seg.Remove() // may fail; then it comes again
	}
	cancel()
	wg.Wait()
	require.NoError(t, s.Close())
	again := open(t, Options{Dir: s.opts.Dir})
	for id := range drain(t, again) {
		shipped[id] = true
	}
	require.Greater(t, len(acked), 50)
	for id := range acked {
		require.True(t, shipped[id])
	}
	require.Positive(t, s.Stats().Failed)
	t.Logf("%d acknowledged, %d refused", len(acked), s.Stats().Failed)
}

// A hanging disk makes the spool unready, and callers free by their context.
func TestStalledDiskIsNotWritable(t *testing.T) {
	release := make(chan struct{})
	s := open(t, Options{Fault: func(op Op, _ string) error {
		if op == OpWrite {
			<-release
		}
		return nil
	}})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	require.Error(t, s.Append(ctx, nth(0), payloadOf(nth(0))))
	require.True(t, s.Writable())
	s.mu.Lock()
	s.writing = s.writing.Add(-stallAfter)
	s.mu.Unlock()
	require.False(t, s.Writable())
	close(release)
	eventually(t, "writable again", s.Writable)
}

// When quarantine cannot take the damage, the whole segment goes there.
func TestQuarantineRefused(t *testing.T) {
	raw, ends := segmentOf(4)
	raw[ends[1]+30] ^= 1
	s := openWith(t, sealedSuffix, raw)
	require.NoError(t, s.Close())
	s = open(t, Options{Dir: s.opts.Dir, Fault: func(op Op, path string) error {
		if op == OpCreate && strings.Contains(path, "quarantine") {
			return syscall.ENOSPC
		}
		return nil
	}})
	got := drain(t, s)
	require.Len(t, got, 3)
	b, err := os.ReadFile(filepath.Join(s.opts.Dir, "quarantine", segmentName(7, sealedSuffix)))
	require.NoError(t, err)
	require.Equal(t, raw, b)
}

func TestSetAside(t *testing.T) {
	s := open(t, Options{MaxAge: time.Hour})
	add(t, s, 0, 3)
	s.Seal()
	seg, err := s.Next(t.Context())
	require.NoError(t, err)
	require.NoError(t, os.Chmod(seg.path, 0))
	require.NoError(t, seg.SetAside())
	require.NoError(t, seg.SetAside(), "a second time does nothing")
	require.EqualValues(t, 1, s.Stats().Quarantined)
	require.Zero(t, s.Stats().Bytes)
	require.Len(t, files(t, s.opts.Dir, "quarantine/*.seg"), 1)
}
