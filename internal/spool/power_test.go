package spool

import (
	"maps"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// platter is what a disk holds when the power goes: of each file what it held
// when it was last synced, under the names it had when its directory was. It
// notes the state before the operation itself, which comes right after and
// succeeds; the writer is the only one who changes files.
type platter struct {
	mu    sync.Mutex
	dir   string
	data  map[uint64][]byte // by inode
	names map[string]uint64
}

func newPlatter(dir string) *platter {
	return &platter{dir: dir, data: map[uint64][]byte{}, names: map[string]uint64{}}
}

func inode(t testing.TB, path string) uint64 {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	return info.Sys().(*syscall.Stat_t).Ino
}

// hook is Options.Fault.
func (p *platter) hook(t testing.TB) func(Op, string) error {
	return func(op Op, path string) error {
		p.mu.Lock()
		defer p.mu.Unlock()
		switch op {
		case OpSync:
			raw, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			p.data[inode(t, path)] = raw
		case OpSyncDir:
			p.names = map[string]uint64{}
			for _, name := range files(t, p.dir, "0*") {
				p.names[filepath.Base(name)] = inode(t, name)
			}
		}
		return nil
	}
}

// afterPowerLoss is a directory with what was left.
func (p *platter) afterPowerLoss(t testing.TB) string {
	t.Helper()
	p.mu.Lock()
	names, data := maps.Clone(p.names), maps.Clone(p.data)
	p.mu.Unlock()
	dir := t.TempDir()
	for name, n := range names {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), data[n], 0o600))
	}
	return dir
}

// The machine loses its power after any acknowledgement: what was acknowledged
// is there when it comes back, in segments that were sealed as in the one that
// was written, and what unsynced bytes would have added is not needed.
func TestPowerLossKeepsWhatWasAcknowledged(t *testing.T) {
	const records = 300
	dir := t.TempDir()
	p := newPlatter(dir)
	s := open(t, Options{Dir: dir, SegmentBytes: 8000, MaxAge: time.Hour, Fault: p.hook(t)})
	for n := range records {
		add(t, s, n, n+1)
		if n%17 == 0 || n > records-5 {
			requireExactly(t, drain(t, open(t, Options{Dir: p.afterPowerLoss(t)})), 0, n+1)
		}
	}
	require.Greater(t, s.Stats().Segments, 3, "the segments were rolled over")
}

// The kernel is really asked: it refuses to sync what is no file.
func TestSyncReachesTheKernel(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer func() { _ = r.Close(); _ = w.Close() }()
	require.Error(t, disk{}.sync(w))
}
