package spool

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
)

// The test binary runs itself again as a child that is killed, or that lives
// under a limit of file size.
const childEnv = "KAIROS_SPOOL_TEST_CHILD"

// child appends from 16 goroutines and ships beside them. Each line it prints
// stands for something that has happened before: "a id" acknowledged, "s id"
// committed elsewhere (the removal follows).
func child() {
	dir, mode, _ := strings.Cut(os.Getenv(childEnv), "|")
	if mode == "limit" {
		limit := syscall.Rlimit{Cur: 4096, Max: 4096}
		must(syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit))
	}
	s, err := Open(Options{Dir: dir, SegmentBytes: 64 << 10, MaxAge: 5 * time.Millisecond})
	must(err)
	ctx := context.Background()
	if mode == "limit" {
		for n := range 200 {
			must(s.Append(ctx, nth(n), payloadOf(nth(n))))
		}
		if s.Append(ctx, nth(1000), make([]byte, 8000)) == nil {
			panic("a record above the limit was acknowledged")
		}
		for deadline := time.Now().Add(5 * time.Second); !s.Writable() && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
		for n := 200; n < 300; n++ {
			must(s.Append(ctx, nth(n), payloadOf(nth(n))))
		}
		must(s.Close())
		return
	}
	var out sync.Mutex
	say := func(b []byte) {
		out.Lock()
		defer out.Unlock()
		_, err := os.Stdout.Write(b)
		must(err)
	}
	for range 16 {
		go func() {
			for {
				id := kairos.NewID()
				must(s.Append(ctx, id, payloadOf(id)))
				say(fmt.Appendf(nil, "a %s\n", id))
			}
		}()
	}
	for {
		seg, err := s.Next(ctx)
		must(err)
		var lines []byte
		must(seg.Records(func(id kairos.ID, payload []byte) error {
			if string(payload) != string(payloadOf(id)) {
				panic("corrupt record " + id.String())
			}
			lines = fmt.Appendf(lines, "s %s\n", id)
			return nil
		}))
		say(lines)
		must(seg.Remove())
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func TestKillMinusNine(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	acked, shipped := map[kairos.ID]bool{}, map[kairos.ID]bool{}
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	for range rounds {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+dir)
		stdout, err := cmd.StdoutPipe()
		require.NoError(t, err)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		require.NoError(t, cmd.Start())
		kill := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() }) // never waits for ever
		lines := bufio.NewScanner(stdout)
		after := 1 + random.IntN(3000)
		pause := time.Duration(random.IntN(3000)) * time.Microsecond
		for n := 0; lines.Scan(); n++ {
			what, text, _ := strings.Cut(lines.Text(), " ")
			if len(text) != 36 {
				break // cut off by the kill
			}
			id := kairos.MustID(text)
			switch what {
			case "a":
				acked[id] = true
			case "s":
				shipped[id] = true
			}
			if n == after {
				time.AfterFunc(pause, func() { _ = cmd.Process.Kill() })
			}
		}
		_ = stdout.Close()
		err = cmd.Wait()
		kill.Stop()
		require.ErrorContains(t, err, "killed", stderr.String())
	}
	s := open(t, Options{Dir: dir})
	for id := range drain(t, s) { // compares each payload
		shipped[id] = true
	}
	require.Zero(t, s.Stats().Quarantined)
	require.Greater(t, len(acked), rounds)
	for id := range acked {
		require.True(t, shipped[id], "acknowledged %s is lost", id)
	}
	t.Logf("%d kills, %d acknowledged, %d handed out", rounds, len(acked), len(shipped))
}

// RLIMIT_FSIZE makes real short writes: a segment ends at 4096 bytes whatever
// was being written.
func TestRealShortWrites(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+dir+"|limit")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	s := open(t, Options{Dir: dir})
	require.Greater(t, s.Stats().Segments, 5)
	requireExactly(t, drain(t, s), 0, 300)
	require.Zero(t, s.Stats().Quarantined)
}
