//go:build !race

package instructions

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// said is what a test under Check did.
type said struct {
	testing.TB
	errors, logs []string
}

func (*said) Helper() {}
func (s *said) Errorf(format string, a ...any) {
	s.errors = append(s.errors, fmt.Sprintf(format, a...))
}
func (s *said) Logf(format string, a ...any) { s.logs = append(s.logs, fmt.Sprintf(format, a...)) }

func skipWhereNothingCounts(t *testing.T) {
	t.Helper()
	if !usable() || testing.CoverMode() != "" {
		t.Skip("this machine can't be stepped")
	}
}

// work is a path of some hundred instructions.
func work() {
	room := [16]byte{}
	for i := range 8 {
		_ = strconv.AppendInt(room[:0], int64(1000+i), 10)
	}
}

func TestCount(t *testing.T) {
	skipWhereNothingCounts(t)
	one, ok := Count(work)
	require.True(t, ok)
	require.Greater(t, one, 200)
	two, _ := Count(func() { work(); work() })
	require.InEpsilon(t, 2*one, two, 0.05)
	again, _ := Count(work)
	require.InEpsilon(t, one, again, 0.05)
}

// TestEnd: work that ends its test leaves nothing behind.
func TestEnd(t *testing.T) {
	skipWhereNothingCounts(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		run(runtime.Goexit)
	}()
	<-done
	_, ok := Count(work)
	require.True(t, ok)
}

// TestCheck: a third more work fails, a tenth more doesn't.
func TestCheck(t *testing.T) {
	skipWhereNothingCounts(t)
	n, _ := Count(func() {
		for range 9 {
			work()
		}
	})
	times := func(k int) *said {
		s := &said{TB: t}
		Check(s, "work", n, func() {
			for range k {
				work()
			}
		})
		return s
	}
	require.Empty(t, times(9).errors)
	require.Empty(t, times(10).errors)
	worse := times(13)
	require.Len(t, worse.errors, 1)
	require.Contains(t, worse.errors[0], "work takes")
	require.Contains(t, worse.errors[0], "new baseline")
	require.Contains(t, times(5).logs[0], "make", "an improvement asks for a new baseline")
}

// TestTrapsAreGivenBack: a breakpoint afterwards is the runtime's again.
func TestTrapsAreGivenBack(t *testing.T) {
	skipWhereNothingCounts(t)
	if os.Getenv("INSTRUCTIONS_TRAP") != "" {
		_, _ = Count(work)
		runtime.Breakpoint()
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^TestTrapsAreGivenBack$")
	cmd.Env = append(os.Environ(), "INSTRUCTIONS_TRAP=1")
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "SIGTRAP")
}
