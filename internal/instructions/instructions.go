// Package instructions counts the machine instructions that a piece of work
// takes, for tests that guard a hot path: the count does not depend on the
// clock, the machine's load or its neighbours, and needs no counters of the
// processor. The kernel steps through the work by the trap flag.
//
// Takes: work that a test can repeat.
// Gives: Count, and Check, which sets a count beside what it was.
// Owns: while it counts, this thread's trap flag, the process's handler of
// SIGTRAP, GOMAXPROCS and the garbage collector's rest; all are given back.
// Promises: every instruction of the calling goroutine in user mode counts
// once; those of other goroutines, of the kernel and of the garbage collector
// never.
// Fails: never by load. Where the machine can't be stepped (not Linux on amd64,
// a sandbox that hides the trap flag) Count says so, and Check skips.
package instructions

import (
	"math"
	"runtime"
	"runtime/debug"
	"testing"
)

// Room is how much more than its baseline a path may take.
const Room = 0.30

// The least of a few rounds is taken: the others met a fresh span of the
// allocator, or an unlucky order in a map. Two that are alike are enough.
const (
	rounds = 7
	alike  = 0.02
)

// Count returns how many instructions f takes, the least of a few rounds after
// one that isn't counted. Stepping costs 5 to 20 µs an instruction, so f should
// take no more than some ten thousand. f must not wait for anybody nor panic:
// it holds its processor. ok is false where nothing can be counted.
func Count(f func()) (n int, ok bool) {
	if !usable() {
		return 0, false
	}
	// On one processor, with its caches and pools filled after the last
	// collection, f finds what it found before.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	runtime.GC()
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	f()
	return max(0, least(f)-least(func() {})), true
}

func least(f func()) int {
	n := run(f)
	for range rounds - 1 {
		again := run(f)
		near := math.Abs(float64(again-n)) <= alike*float64(n)
		if n = min(n, again); near {
			break
		}
	}
	return n
}

// Check fails the test when f takes over Room more than the baseline, which is
// what f took when it was written into the test. A test that means to cost more
// gets the number that is told here. Under Room less it asks for the same, so
// that the guard stays close.
func Check(t testing.TB, what string, baseline int, f func()) {
	t.Helper()
	n, ok := Count(f)
	check(t, what, baseline, n, ok)
}

// CheckBeside is Check of what f takes beside work that is part of it, but not
// its own, such as cryptography that processors do more or less of themselves.
func CheckBeside(t testing.TB, what string, baseline int, part, f func()) {
	t.Helper()
	n, ok := Count(f)
	of, _ := Count(part)
	check(t, what, baseline, n-of, ok)
}

func check(t testing.TB, what string, baseline, n int, ok bool) {
	t.Helper()
	if testing.CoverMode() != "" {
		t.Skip("instructions of code that counts its own coverage")
	}
	if !ok {
		t.Skip("this machine can't be stepped: no instructions are counted")
	}
	switch at := float64(n) / float64(baseline); {
	case at > 1+Room:
		t.Errorf("%s takes %d instructions, %.0f %% of the %d it took: if that is meant, %d is the new baseline in this test", what, n, 100*at, baseline, n)
	case at < 1/(1+Room):
		t.Logf("%s takes %d instructions, only %.0f %% of the %d it took: make %d the baseline, so that the guard stays close", what, n, 100*at, baseline, n)
	default:
		t.Logf("%s takes %d instructions, %.0f %% of the baseline", what, n, 100*at)
	}
}
