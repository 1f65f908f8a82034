package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"kairos/internal/rig"
)

// twoSchedulers: three processes have every role and compete for the periodic
// work; the one that leads is frozen until another leads, and wakes up.
func twoSchedulers(t *trial) {
	people, campaigns, rounds := pick(t, 800, 5000), pick(t, 3, 6), pick(t, 1, 5)
	sink := t.smtp(pick(t, 10*time.Millisecond, 40*time.Millisecond))
	t.serve(rolesFront)
	var procs []*rig.Process
	for range 3 {
		procs = append(procs, t.serve(rolesAll))
	}
	t.audience(people)
	var ids []string
	for range campaigns {
		ids = append(ids, t.campaign(nil))
	}
	for k := range rounds {
		t.taken(sink.Total, people*campaigns*(k+1)/(rounds+3))
		p := procs[t.busy(procs)]
		t.check(p.Signal(syscall.SIGSTOP))
		n := t.takeOver(time.Now(), heldBy, strconv.Itoa(p.PID))
		t.fault("SIGSTOP of a process with every role and %d batches, after %d messages", n, sink.Total())
		t.pause(pick(t, 12*time.Second, 15*time.Second)) // a leader's session ends after ten
		t.check(p.Signal(syscall.SIGCONT))
	}
	for _, id := range ids {
		t.finished(id, 10*time.Minute)
	}
	t.settled(sink.Total)
	t.res.Recipients = people * campaigns
	t.verify(sink.Recipients(), people, rounds*t.inFlight, ids...)
}

// oldAndNew: the previous release's processes and this one's work on the same
// campaign.
func oldAndNew(t *trial) {
	old, err := t.earlier()
	if err != nil {
		t.skip("there is no earlier version to be had; --old REF names a commit: %v", err)
	}
	binary, err := t.once("old", func() (string, error) { return t.buildAt(old) })
	t.check(err)
	people := pick(t, 3000, 30_000)
	sink := t.smtp(15 * time.Millisecond)
	t.serve(rolesFront)
	t.serve(rolesStage)
	before, now := t.serveWith(binary, rolesAll), t.serve(rolesAll)
	t.audience(people)
	id := t.campaign(nil)
	for k := range 4 { // a rolling update, forwards and back
		t.taken(sink.Total, people*(k+1)/6)
		p, next := &before, t.binary
		if k%2 == 1 {
			p, next = &now, binary
		}
		t.check((*p).Stop())
		*p = t.serveWith(next, rolesAll)
		t.fault("a process is replaced by one of the other release, after %d messages", sink.Total())
	}
	t.finished(id, 5*time.Minute)
	t.settled(sink.Total)
	t.verify(sink.Recipients(), people, 0, id)
	t.res.note("the other release is %s", old)
}

// earlier is the commit of the other version: the one asked for, else the
// newest tag before this commit, else the commit before the newest addition to
// the schema.
func (s *suite) earlier() (string, error) {
	if s.Old != "" {
		return s.Old, nil
	}
	if out, err := exec.Command("git", "describe", "--tags", "--abbrev=0", "HEAD^").Output(); err == nil {
		return strings.TrimSpace(string(out)), nil
	}
	out, err := exec.Command("git", "log", "-1", "-M", "--diff-filter=A", "--format=%h^", "--", ":(top,glob)migrations/*.sql").Output()
	if err != nil {
		return "", fmt.Errorf("read the history: %w", err)
	}
	changed := strings.TrimSpace(string(out))
	if out, err = exec.Command("git", "rev-parse", "--short", "--verify", "--quiet", changed).Output(); err != nil {
		return "", fmt.Errorf("the history ends at the newest change of the schema: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// buildAt builds the command as it was at a commit.
func (s *suite) buildAt(ref string) (string, error) {
	dir := filepath.Join(s.dir, "old-source")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	root, err := exec.Command("git", "rev-parse", "--show-toplevel").Output()
	if err != nil {
		return "", fmt.Errorf("find the repository: %w", err)
	}
	archive := exec.Command("git", "-C", strings.TrimSpace(string(root)), "archive", "--output="+filepath.Join(s.dir, "old.tar"), ref)
	if out, err := archive.CombinedOutput(); err != nil {
		return "", fmt.Errorf("read %s: %w: %s", ref, err, out)
	}
	if out, err := exec.Command("tar", "-xf", filepath.Join(s.dir, "old.tar"), "-C", dir).CombinedOutput(); err != nil {
		return "", fmt.Errorf("unpack %s: %w: %s", ref, err, out)
	}
	path := filepath.Join(s.dir, "kairos-old")
	build := exec.Command("go", "build", "-o", path, "./cmd/kairos")
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", ref, err, out)
	}
	return path, nil
}

// skewed is the command with a clock that reads its error from a file.
var skewed = []mutation{
	{"cmd/kairos/config.go", "return kairos.SystemClock{}, nil", "return skewedClock{}, nil"},
	{"cmd/kairos/skewed_clock.go", "", `package main

import (
	"os"
	"time"
)

type skewedClock struct{}

func (skewedClock) Now() time.Time {
	raw, _ := os.ReadFile(os.Getenv("CHAOS_CLOCK"))
	off, _ := time.ParseDuration(string(raw))
	return time.Now().UTC().Add(off)
}
`},
}

// clockJumps: the domain clocks of two processes of four jump an hour ahead and
// an hour back in mid-campaign, and return. It is the clock of the program that
// jumps, not the machine's: leases are kept by Postgres' clock in any case.
func clockJumps(t *trial) {
	binary, err := t.once("skewed", func() (string, error) {
		overlay, err := writeOverlay(filepath.Join(t.suite.dir, "skewed-source"), skewed...)
		if err != nil {
			return "", err
		}
		return t.build(t.ctx, "kairos-skewed", overlay)
	})
	t.check(err)
	people, rounds := pick(t, 2500, 20_000), pick(t, 1, 5)
	sink := t.smtp(15 * time.Millisecond)
	t.usual(0)
	clocks := []string{filepath.Join(t.dir, "clock-a"), filepath.Join(t.dir, "clock-b")}
	for _, c := range clocks {
		t.check(os.WriteFile(c, []byte("0s"), 0o600))
		t.serveWith(binary, rolesAll, "CHAOS_CLOCK="+c)
	}
	t.audience(people)
	id := t.campaign(nil)
	later := t.campaign(map[string]any{"schedule": map[string]any{"mode": "at", "at": time.Now().Add(pick(t, 8*time.Second, time.Minute))}})
	jumps := []string{"1h", "-1h", "0s"}
	for k := range rounds * len(jumps) {
		t.taken(sink.Total, people*(k+1)/(rounds*len(jumps)+2))
		for i, c := range clocks {
			t.check(os.WriteFile(c, []byte(jumps[(k+i)%len(jumps)]), 0o600))
		}
		t.fault("clocks are off by %s and %s, after %d messages", jumps[k%3], jumps[(k+1)%3], sink.Total())
		t.pause(1200 * time.Millisecond) // longer than a tick of what looks at the clock
	}
	for _, c := range clocks {
		t.check(os.WriteFile(c, []byte("0s"), 0o600))
	}
	t.finished(id, 5*time.Minute)
	t.finished(later, 5*time.Minute)
	t.settled(sink.Total)
	t.res.Recipients = 2 * people
	t.verify(sink.Recipients(), people, 0, id, later)
	t.res.note("simulated: the domain clock of the processes, through a binary whose clock reads its error from a file; leases go by Postgres' own")
}
