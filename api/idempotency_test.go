package api

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
)

func count(t *testing.T, pool *pgxpool.Pool, sql string, args ...any) (n int) {
	t.Helper()
	require.NoError(t, pool.QueryRow(context.Background(), sql, args...).Scan(&n))
	return n
}

func TestRepeatedPostIsAnsweredAsTheFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	template, _, _ := w.sample()
	body := draft(template)
	first := w.call("POST", "/v1/campaigns", body, "Idempotency-Key", "k1")
	first.ok(201)
	require.Empty(t, first.Header.Get("Idempotency-Replayed"))
	again := w.call("POST", "/v1/campaigns", body, "Idempotency-Key", "k1")
	require.Equal(t, first.Body, again.Body)
	require.Equal(t, 201, again.Status)
	require.Equal(t, "true", again.Header.Get("Idempotency-Replayed"))
	require.Equal(t, "application/json", again.Header.Get("Content-Type"))
	require.Equal(t, 2, count(t, w.pool, `SELECT count(*) FROM campaigns`)) // and the sample's

	body["name"] = "Other"
	w.call("POST", "/v1/campaigns", body, "Idempotency-Key", "k1").problem(422, "header.Idempotency-Key")
	w.call("POST", "/v1/segments", body, "Idempotency-Key", "k1").problem(422, "header.Idempotency-Key")
	w.call("POST", "/v1/campaigns", body, "Idempotency-Key", strings.Repeat("k", 256)).problem(400, "header.Idempotency-Key")
	w.call("POST", "/v1/campaigns", body, "Idempotency-Key", "k 1").problem(400, "header.Idempotency-Key")
	w.call("POST", "/v1/campaigns", body, "Idempotency-Key", "k1", "Authorization", "Bearer "+w.key(ScopeAdmin)).ok(201) // another caller's key

	bad := w.call("POST", "/v1/campaigns", `{}`, "Idempotency-Key", "k2").problem(422, "body.name")
	require.Equal(t, bad, w.call("POST", "/v1/campaigns", `{}`, "Idempotency-Key", "k2").problem(422, "body.name"))
}

func TestTwoHundredPostsWithOneKeyHaveOneEffect(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	template, _, _ := w.sample()
	client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 200}}
	defer client.CloseIdleConnections()
	var all sync.WaitGroup
	var mu sync.Mutex
	got := map[int]int{}
	bodies := map[string]bool{}
	raw := `{"name":"One","template":"` + template + `","audience":{"all":true},"schedule":{"mode":"now"}}`
	for range 200 {
		all.Go(func() {
			req, err := http.NewRequest(http.MethodPost, w.http.URL+"/v1/campaigns", strings.NewReader(raw))
			if err != nil {
				t.Error(err)
				return
			}
			req.Header.Set("Authorization", "Bearer "+w.admin)
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Idempotency-Key", "one")
			resp, err := client.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = resp.Body.Close() }()
			b, _ := io.ReadAll(resp.Body)
			mu.Lock()
			defer mu.Unlock()
			got[resp.StatusCode]++
			if resp.StatusCode == http.StatusCreated {
				bodies[string(b)] = true
			} else if resp.StatusCode == http.StatusConflict && resp.Header.Get("Retry-After") == "" {
				t.Error("409 without Retry-After")
			}
		})
	}
	all.Wait()
	require.Equal(t, 200, got[http.StatusCreated]+got[http.StatusConflict], fmt.Sprint(got))
	require.Len(t, bodies, 1)
	require.Equal(t, 1, count(t, w.pool, `SELECT count(*) FROM campaigns WHERE name = 'One'`))
}

func TestRunningKeyIsAConflictUntilItsLeaseEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := strings.Split(w.admin, "_")[2]
	rec := record{caller: id, key: "dead", request: bodyHash(w, "POST", "/v1/contacts", `{"external_id":"a"}`)}
	held, old, err := rec.take(t.Context(), w.pool)
	require.NoError(t, err)
	require.Nil(t, old)
	require.False(t, held.IsZero())
	r := w.call("POST", "/v1/contacts", `{"external_id":"a"}`, "Idempotency-Key", "dead")
	r.problem(409, "")
	require.NotEmpty(t, r.Header.Get("Retry-After"))
	w.call("POST", "/v1/contacts", `{"external_id":"b"}`, "Idempotency-Key", "dead").problem(422, "header.Idempotency-Key")

	// The process that held it died: its lease runs out.
	_, err = w.pool.Exec(t.Context(), `UPDATE idempotency_keys SET lease_until = clock_timestamp() - interval '1 second'`)
	require.NoError(t, err)
	w.call("POST", "/v1/contacts", `{"external_id":"a"}`, "Idempotency-Key", "dead").ok(201)
	require.ErrorIs(t, rec.store(t.Context(), w.pool, held, &memory{status: 200}), errLost, "the dead one may not overwrite the answer")
}

func bodyHash(w *world, method, path, body string) []byte {
	req, err := http.NewRequest(method, w.http.URL+path, nil)
	require.NoError(w.t, err)
	req.Header.Set("Content-Type", "application/json")
	req.URL.Scheme, req.URL.Host = "", "" // as a server sees it
	sum := requestHash(req)
	sum.Write([]byte(body))
	return sum.Sum(nil)
}

func TestServerFaultsAreNotKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	_, err := w.pool.Exec(ctx, `ALTER TABLE segments RENAME TO gone`)
	require.NoError(t, err)
	in := `{"name":"x","expression":"region == \"EU\""}`
	w.call("POST", "/v1/segments", in, "Idempotency-Key", "k").problem(500, "")
	require.Zero(t, count(t, w.pool, `SELECT count(*) FROM idempotency_keys`))
	_, err = w.pool.Exec(ctx, `ALTER TABLE gone RENAME TO segments`)
	require.NoError(t, err)
	w.call("POST", "/v1/segments", in, "Idempotency-Key", "k").ok(201)
}

func TestAnImportIsComparedByItsWholeBody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	file := "external_id\na\nb\n"
	send := func(body string) reply {
		return w.call("POST", "/v1/contacts/import", strings.NewReader(body), "Content-Type", "text/csv", "Idempotency-Key", "file")
	}
	first := send(file)
	first.ok(202)
	again := send(file)
	require.Equal(t, first.Body, again.Body)
	require.Equal(t, "true", again.Header.Get("Idempotency-Replayed"))
	send(file+"c\n").problem(422, "header.Idempotency-Key")
	require.Equal(t, 1, count(t, w.pool, `SELECT count(*) FROM imports`))
}

// The work goes on when its client leaves, so that the retry finds the answer.
func TestAClientThatLeavesFindsItsAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tx, err := w.pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `LOCK TABLE segments IN ACCESS EXCLUSIVE MODE`)
	require.NoError(t, err)
	in := `{"name":"x","expression":"region == \"EU\""}`
	ctx, leave := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.http.URL+"/v1/segments", bytes.NewReader([]byte(in)))
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+w.admin)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", "gone")
	left := make(chan error, 1)
	go func() {
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		left <- err
	}()
	require.Eventually(t, func() bool {
		return count(t, w.pool, `SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`) > 0
	}, 10*time.Second, 10*time.Millisecond)
	leave()
	require.ErrorIs(t, <-left, context.Canceled)
	require.NoError(t, tx.Rollback(t.Context()))
	require.Eventually(t, func() bool {
		return count(t, w.pool, `SELECT count(*) FROM idempotency_keys WHERE state = 'done'`) == 1
	}, 10*time.Second, 10*time.Millisecond)
	r := w.call("POST", "/v1/segments", in, "Idempotency-Key", "gone")
	r.ok(201)
	require.Equal(t, "true", r.Header.Get("Idempotency-Replayed"))
	require.Equal(t, 1, count(t, w.pool, `SELECT count(*) FROM segments`))
}

func TestPurgeAndExpiry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	in := `{"external_id":"a"}`
	w.call("POST", "/v1/contacts", in, "Idempotency-Key", "old").ok(201)
	w.call("POST", "/v1/contacts", in, "Idempotency-Key", "older").ok(200)
	_, err := w.pool.Exec(t.Context(), `UPDATE idempotency_keys SET created_at = clock_timestamp() - interval '25 hours'`)
	require.NoError(t, err)
	r := w.call("POST", "/v1/contacts", `{"external_id":"b"}`, "Idempotency-Key", "old")
	r.ok(201)
	require.Empty(t, r.Header.Get("Idempotency-Replayed"))
	n, err := PurgeIdempotency(t.Context(), w.pool)
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
}
