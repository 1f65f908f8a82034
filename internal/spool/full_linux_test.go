package spool

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A real disk that fills up: a tmpfs of 512 KiB.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=512k"); err != nil {
		t.Skipf("cannot mount a tmpfs: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, 0) })
	ballast := filepath.Join(dir, "ballast")
	require.NoError(t, os.WriteFile(ballast, make([]byte, 256<<10), 0o600))

	s := open(t, Options{Dir: dir, SegmentBytes: 50_000, MaxAge: time.Hour})
	n := 0
	var err error
	for ; err == nil; n++ {
		require.Less(t, n, 100_000)
		err = s.Append(t.Context(), nth(n), payloadOf(nth(n)))
	}
	n-- // the last one was refused
	require.ErrorIs(t, err, ErrNotDurable)
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.Greater(t, n, 100)

	require.NoError(t, os.Remove(ballast))
	eventually(t, "writable again", s.Writable)
	add(t, s, n, n+100)
	requireExactly(t, drain(t, s), 0, n+100)
	require.Zero(t, s.Stats().Quarantined)
}
