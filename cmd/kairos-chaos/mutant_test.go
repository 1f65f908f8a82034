package main

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// mutants are programs that break a promise. What they break is caught by a
// scenario, which shows that the scenario looks.
var mutants = []struct {
	name      string
	mutations []mutation
	sabotage  []string
	scenario  string
	broken    string // what the verdict says
}{
	{
		name: "a sender that ignores the fence, in a ledger without its guard",
		mutations: []mutation{
			{"delivery/mark.go", `WHERE b.id = $1 AND b.epoch = $2 AND b.state = 'running' AND b.owner = $3`, `WHERE b.id = $1 AND $2::int > 0 AND $3::text <> ''`},
			{"internal/batch/batch.go", `WHERE id = $1 AND epoch = $2 AND state = 'running' AND owner = $3` + "`", `WHERE id = $1 AND $2::int > 0 AND $3::text <> ''` + "`"},
			{"internal/batch/keep.go", "if time.Since(extended) > lease {", "if time.Since(extended) > 1000*lease {"},
		},
		sabotage: []string{"DROP INDEX attempts_one_live"},
		scenario: "freeze-sender",
		broken:   "duplicates",
	},
	{
		name:      "a spool that doesn't sync what it appends",
		mutations: []mutation{{"internal/spool/write.go", "err = s.disk.sync(s.file)", "err = nil"}},
		scenario:  "power-loss",
		broken:    "tests of kairos/internal/spool",
	},
	{
		name:      "a spool that doesn't sync a new segment",
		mutations: []mutation{{"internal/spool/write.go", "err = s.disk.sync(f)", "err = nil"}},
		scenario:  "power-loss",
		broken:    "tests of kairos/internal/spool",
	},
	{
		name:      "a spool that doesn't sync its directory",
		mutations: []mutation{{"internal/spool/write.go", "err = s.disk.syncDir(s.opts.Dir)", "err = nil"}},
		scenario:  "power-loss",
		broken:    "tests of kairos/internal/spool",
	},
	{
		name:      "a sync that never reaches the kernel",
		mutations: []mutation{{"internal/spool/disk.go", "return datasync(f)", "return nil"}},
		scenario:  "power-loss",
		broken:    "tests of kairos/internal/spool",
	},
	{
		name:      "an API that ignores idempotency keys",
		mutations: []mutation{{"api/idempotency.go", `if r.Method != http.MethodPost || key == "" {`, `if r.Method != http.MethodPost || key != "-" {`}},
		scenario:  "one-key",
		broken:    "duplicates",
	},
}

// TestMutantsAreCaught builds each mutant and runs the scenario that must see
// what it does.
func TestMutantsAreCaught(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the binary several times")
	}
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			overlay, err := writeOverlay(filepath.Join(t.TempDir(), "source"), m.mutations...)
			require.NoError(t, err)
			s, err := newSuite(suiteOptions{Seed: 1, Log: writer{t}, Overlay: overlay, Sabotage: m.sabotage})
			require.NoError(t, err)
			defer func() { require.NoError(t, s.close()) }()
			chosen, err := choose([]string{m.scenario})
			require.NoError(t, err)
			r := s.run(t.Context(), chosen[0])
			require.Empty(t, r.Skipped)
			require.Contains(t, r.verdict(), "BROKEN")
			require.Contains(t, r.verdict(), m.broken)
		})
	}
}

// TestMutationsMustMatch: a mutation of a source that has changed is no mutant
// at all, and says so.
func TestMutationsMustMatch(t *testing.T) {
	_, err := writeOverlay(t.TempDir(), mutation{"clock.go", "what never stood there", ""})
	require.ErrorContains(t, err, "occurs 0 times: adapt the mutation")
	_, err = writeOverlay(t.TempDir(), mutation{"clock.go", "return", "panic"})
	require.ErrorContains(t, err, "times: adapt the mutation")
}
