package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos/delivery/deliverytest"
)

// hitting is one request of TestPostgresStoppedUnderClicks.
type hitting struct {
	method, to, body string
	want             int
}

// TestPostgresStoppedUnderClicks: Postgres dies in the middle of steady
// traffic. Every click is redirected as fast as ever and every page event is
// taken, and afterwards each of them is in the log, once.
func TestPostgresStoppedUnderClicks(t *testing.T) {
	const people, rate, away = 1000, 300, 4 * time.Second
	w, sink := newSMTPWorld(t, deliverytest.SinkOptions{Keep: people})
	front := w.serve("track")
	office := w.serve("api,creation,orchestration,analysis,delivery")
	w.api.Server = office.url
	w.audience(people)
	id := w.launch(nil)
	w.until(id, "finished", time.Minute)

	// Each link of each message once, and a page event with its own key for
	// every tenth: hits that are all different facts.
	var hits []hitting
	browsers := visitors()
	mail := letters(t, sink)
	for no := range 3 {
		for _, l := range mail {
			hits = append(hits, hitting{http.MethodGet, l.links[no], "", 302})
		}
	}
	visitor := &person{t, browsers, front.url}
	token := visitor.click(mail[0].links[2], agentScanner) // followed again seconds later: another fact
	payments := 0
	for i := 0; i < len(hits); i += 10 {
		hits = slices.Insert(hits, i, hitting{http.MethodPost, front.url + "/t/" + url.PathEscape(token),
			fmt.Sprintf(`{"kind":"payment.received","key":"order-%d","amount":"1","currency":"EUR"}`, i), 202})
		payments++
	}

	// A server that does the least that a durable answer takes, visited now and
	// then, tells what the machine itself costs at this time.
	plain := durable(t)
	var bare []time.Duration
	var lock sync.Mutex
	took := make([]time.Duration, len(hits))
	wrong := make([]string, len(hits))
	var visiting sync.WaitGroup
	began := time.Now()
	stopped := make(chan error, 1)
	duration := time.Duration(len(hits)) * time.Second / rate
	go func() {
		time.Sleep((duration - away) / 2)
		err := w.postgres.Stop(true)
		time.Sleep(away / 2)
		if status, _, e := visit(context.Background(), browsers, http.MethodGet, front.url+"/readyz", "", "", agentPerson); e != nil || status != 200 {
			err = fmt.Errorf("the collector is not ready: %d %w", status, e)
		}
		time.Sleep(away / 2)
		if e := w.postgres.Start(context.Background()); e != nil {
			err = e
		}
		stopped <- err
	}()
	for i, h := range hits {
		time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / rate)))
		visiting.Go(func() {
			sent := time.Now()
			status, _, err := visit(context.Background(), browsers, h.method, h.to, "application/json", h.body, agentPerson)
			took[i] = time.Since(sent)
			if err != nil || status != h.want {
				wrong[i] = fmt.Sprintf("%s after %s: %d %v", h.method, sent.Sub(began), status, err)
			}
			if i%10 == 0 {
				sent := time.Now()
				if _, _, err := visit(context.Background(), browsers, http.MethodGet, plain, "", "", agentPerson); err == nil {
					lock.Lock()
					bare = append(bare, time.Since(sent))
					lock.Unlock()
				}
			}
		})
	}
	visiting.Wait()
	require.NoError(t, <-stopped)
	lasted := time.Since(began)
	wrong = slices.DeleteFunc(wrong, func(s string) bool { return s == "" })
	require.Empty(t, wrong, "%d of %d hits went wrong", len(wrong), len(hits))
	p50, p99, most := percentiles(took)
	_, bare99, _ := percentiles(bare)
	t.Logf("%d hits in %s: p50 %s, p99 %s, max %s; p99 of a bare write %s", len(hits), lasted.Round(time.Millisecond), p50, p99, most, bare99)
	require.LessOrEqual(t, p99, max(250*time.Millisecond, 4*bare99), "p99") // 50 ms on a quiet machine

	eventually(t, time.Minute, func() string {
		var clicks, paid int
		err := w.pool.QueryRow(t.Context(), `
			SELECT count(DISTINCT (notification, data->>'link')) FILTER (WHERE kind = 'notification.clicked'), count(*) FILTER (WHERE kind = 'payment.received')
			FROM events WHERE campaign = $1`, id).Scan(&clicks, &paid)
		if err != nil || clicks < 3*people || paid < payments {
			return fmt.Sprintf("%d of %d clicks and %d of %d payments are in the log (%v)", clicks, 3*people, paid, payments, err)
		}
		return ""
	})
	// One more than links: one was followed twice.
	require.Equal(t, 3*people+1, w.count(`SELECT count(*) FROM events WHERE campaign = $1 AND kind = 'notification.clicked'`, id))
	require.Equal(t, payments, w.count(`SELECT count(*) FROM events WHERE campaign = $1 AND kind = 'payment.received'`, id))
	require.Equal(t, payments, w.count(`SELECT count(DISTINCT key) FROM events WHERE campaign = $1 AND kind = 'payment.received'`, id))

	// The installation works on.
	next := w.launch(nil)
	w.until(next, "finished", time.Minute)
	require.Equal(t, 2*people, sink.Total())
}

func percentiles(took []time.Duration) (p50, p99, most time.Duration) {
	slices.Sort(took)
	return took[len(took)/2], took[len(took)*99/100], took[len(took)-1]
}

// durable serves answers after a write to disk and returns its address.
func durable(t *testing.T) string {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "hits"))
	require.NoError(t, err)
	var lock sync.Mutex
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		lock.Lock()
		defer lock.Unlock()
		_, err := file.WriteString(strings.Repeat("x", 200))
		if err == nil {
			err = file.Sync()
		}
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	t.Cleanup(func() {
		s.Close()
		require.NoError(t, file.Close())
	})
	return s.URL
}
