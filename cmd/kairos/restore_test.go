package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos/delivery/deliverytest"
)

// backup copies the cluster's files while the server is stopped.
func (w *world) backup() (from, to string) {
	w.t.Helper()
	require.NoError(w.t, w.pool.QueryRow(w.t.Context(), `SHOW data_directory`).Scan(&from))
	to = from + ".backup"
	require.NoError(w.t, w.postgres.Stop(false))
	out, err := exec.Command("cp", "-a", from, to).CombinedOutput()
	require.NoError(w.t, err, "%s", out)
	require.NoError(w.t, w.postgres.Start(w.t.Context()))
	return from, to
}

// restore puts the copy in the cluster's place.
func (w *world) restore(from, to string) {
	w.t.Helper()
	require.NoError(w.t, w.postgres.Stop(true))
	out, err := exec.Command("sh", "-c", fmt.Sprintf("rm -rf %s && mv %s %s", from, to, from)).CombinedOutput()
	require.NoError(w.t, err, "%s", out)
	require.NoError(w.t, w.postgres.Start(w.t.Context()))
}

func (w *world) readiness(of *proc) (status int, checks map[string]string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, of.url+"/readyz", nil)
	require.NoError(w.t, err)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil
	}
	defer func() { _ = resp.Body.Close() }()
	var answer struct{ Checks map[string]string }
	require.NoError(w.t, json.NewDecoder(resp.Body).Decode(&answer))
	return resp.StatusCode, answer.Checks
}

func (w *world) restoreStatus() (s restoreStatus) {
	w.t.Helper()
	require.NoError(w.t, json.Unmarshal([]byte(w.run("restore", "status", "--json")), &s))
	return s
}

// TestRestoredFromABackup: a backup is made in the middle of a campaign, the
// campaign goes on to its end, the database is lost and restored. The processes
// notice by themselves; nobody is mailed twice, clicks are redirected all the
// time, and after the release everybody is accounted for.
func TestRestoredFromABackup(t *testing.T) {
	const people = 600
	w, sink := newSMTPWorld(t, deliverytest.SinkOptions{Keep: 3 * people, Faults: slowSink(20 * time.Millisecond).Faults})
	dirs := []string{t.TempDir(), t.TempDir(), t.TempDir()}
	begin := func() (all []*proc) {
		for i, roles := range []string{rolesFront, rolesStage, rolesSend} {
			all = append(all, w.serve(roles, "KAIROS_DATA_DIR", dirs[i]))
		}
		return all
	}
	processes := begin()
	w.audience(people)
	later := w.launch(map[string]any{"name": "Later", "schedule": map[string]any{"mode": "at", "at": time.Now().Add(time.Hour)}})
	id := w.launch(nil)
	taken(t, sink, people/6)
	from, to := w.backup()
	inBackup := sink.Total()
	w.until(id, "finished", time.Minute)
	onceEach(t, sink, people)
	require.Less(t, inBackup, people, "the campaign was over: this backup proves nothing")
	mail := letters(t, sink)

	for _, p := range processes {
		p.kill()
	}
	w.restore(from, to)
	processes = begin()
	front, sender := processes[0], processes[2]
	s := w.restoreStatus()
	require.True(t, s.Frozen)
	require.NotNil(t, s.Last.Since)
	require.Contains(t, w.run("restore"), "FROZEN")
	status, checks := w.readiness(sender)
	require.Equal(t, 200, status)
	require.Contains(t, checks["delivery"], "frozen")
	require.Contains(t, metricsOf(t, sender.url), "\nkairos_frozen 1\n")
	require.Contains(t, processes[0].stderr.String()+processes[1].stderr.String()+sender.stderr.String(), "kairos restore release")
	due := w.count(`SELECT count(*) FROM notifications n WHERE state = 'planned' AND campaign = $1
		AND NOT EXISTS (SELECT FROM attempts a WHERE a.notification = n.id AND a.live)`, id)
	t.Logf("the backup was made at %d of %d messages; in it %d people are without an attempt", inBackup, people, due)
	require.EqualValues(t, due, s.Due)
	require.Positive(t, due)

	// The reconciler and the dispatcher have their turns, and nothing leaves.
	rounds := w.count(`SELECT extract(epoch FROM reconciled_at)::int FROM delivery_state`)
	eventually(t, time.Minute, func() string {
		if w.count(`SELECT extract(epoch FROM reconciled_at)::int FROM delivery_state`) < rounds+6 {
			return "the reconciler has not been round twice"
		}
		return ""
	})
	require.Equal(t, people, sink.Total(), "something was sent while delivery was frozen")
	reader := &person{t, visitors(), front.url}
	reader.click(mail[0].links[0], agentPerson)
	reader.click(mail[1].links[0], agentPerson)

	// Nothing else freezes a restart; somebody decides.
	require.NotEmpty(t, w.run("restore", "release", "--by", "eve", "--reason", "the disk was lost"))
	s = w.restoreStatus()
	require.False(t, s.Frozen)
	require.EqualValues(t, due, s.Last.Doubtful)
	done := w.until(id, "finished", time.Minute).Progress
	require.Equal(t, people, done.Accepted+done.Unknown, "%+v", done)
	require.Positive(t, done.Unknown)
	require.Equal(t, people, sink.Total(), "somebody was mailed again")

	// An operator looks at what is left.
	var list []unknownAttempt
	for line := range strings.Lines(w.run("unknowns", "--json", "--campaign", id)) {
		var u unknownAttempt
		require.NoError(t, json.Unmarshal([]byte(line), &u))
		list = append(list, u)
	}
	require.Len(t, list, done.Unknown)
	require.Len(t, strings.Split(strings.TrimSpace(w.run("unknowns", "list", "--limit", "3")), "\n"), 4)
	p := start(t, w.environment(nil), "unknowns", "resolve", list[0].Attempt, "--choice", "resend")
	require.Equal(t, 1, p.wait(time.Minute), "a marketing message is not sent again without a reason")
	require.Contains(t, p.stderr.String(), "reason")
	require.Contains(t, w.run("unknowns", "resolve", list[0].Attempt, "--choice", "accepted", "--by", "eve", "--reason", "it is in the relay's log"), "accepted")
	p = start(t, w.environment(nil), "unknowns", "resolve", list[0].Attempt, "--choice", "abandoned")
	require.Equal(t, 1, p.wait(time.Minute))
	require.Contains(t, p.stderr.String(), "409")
	require.Contains(t, w.run("unknowns", "resolve", list[1].Attempt, "--choice", "abandoned"), "failed")

	// People open what they got, which settles the rest.
	began := time.Now()
	for _, l := range mail {
		reader.fetch(l.pixel)
	}
	eventually(t, time.Minute, func() string {
		if p := w.status(id).Progress; p.Unknown > 0 || p.Accepted != people-1 || p.Failed != 1 {
			return fmt.Sprintf("%+v", p)
		}
		return ""
	})
	t.Logf("%d of %d unknown attempts were settled by opens within %s", len(list)-2, len(list)-2, time.Since(began).Round(time.Millisecond))

	// What was to go out later does, to everybody once.
	_, err := w.pool.Exec(t.Context(), `
		WITH c AS (UPDATE campaigns SET spec = jsonb_set(spec, '{schedule,at}', to_jsonb(now())) WHERE id = $1), b AS (UPDATE batches SET slot = now() WHERE campaign = $1)
		UPDATE notifications SET planned_at = now() WHERE campaign = $1`, later)
	require.NoError(t, err)
	w.until(later, "finished", time.Minute)
	require.Equal(t, 2*people, sink.Total())
	for address, n := range sink.Recipients() {
		require.Equal(t, 2, n, address)
	}

	// The data directories have made their peace with the database.
	for _, p := range processes {
		p.kill()
	}
	begin()
	require.False(t, w.restoreStatus().Frozen)
	require.FileExists(t, filepath.Join(dirs[0], "watermark.json"))
}

func metricsOf(t *testing.T, base string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/metrics", nil)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	var b strings.Builder
	_, err = fmt.Fprint(&b, "\n")
	require.NoError(t, err)
	buf := make([]byte, 64<<10)
	for {
		n, err := resp.Body.Read(buf)
		b.Write(buf[:n])
		if err != nil {
			return b.String()
		}
	}
}
