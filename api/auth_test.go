package api

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
)

func TestKeyForms(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	parts := strings.Split(w.admin, "_")
	require.Len(t, parts, 4)
	require.Equal(t, []string{"kairos", "test"}, parts[:2])
	require.Len(t, parts[3], 52) // 256 bits in base32
	for _, bad := range []string{
		"", "Bearer", "Basic " + w.admin, "Bearer nonsense", "Bearer " + w.admin + "x", "Bearer " + w.admin[:len(w.admin)-1],
		"Bearer kairos_test_" + parts[2] + "_", "Bearer kairos_test_nobody_" + parts[3], "Bearer " + strings.Repeat("a", 4000),
	} {
		r := w.call("GET", "/v1/contacts", nil, "Authorization", bad)
		r.problem(401, "")
		require.Contains(t, r.Header.Get("WWW-Authenticate"), "Bearer")
	}
	w.call("GET", "/v1/contacts", nil, "Authorization", "bearer  "+w.admin).ok(200)
	var stored []byte
	require.NoError(t, w.pool.QueryRow(t.Context(), `SELECT secret FROM api_keys WHERE id = $1`, parts[2]).Scan(&stored))
	require.Len(t, stored, 32)
	require.NotContains(t, string(stored), parts[3])
}

func TestNewKeyIsChecked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for field, n := range map[string]NewKey{
		"env":    {Env: "a_b", Name: "x", Scopes: []string{ScopeAdmin}},
		"name":   {Scopes: []string{ScopeAdmin}},
		"scopes": {Name: "x", Scopes: []string{"everything"}},
	} {
		_, _, err := w.api.keys.Create(t.Context(), n)
		var f *kairos.FieldError
		require.ErrorAs(t, err, &f)
		require.Equal(t, field, f.Field)
	}
	keys, err := w.api.keys.List(t.Context())
	require.NoError(t, err)
	require.Len(t, keys, 1)
}

func TestRevocationHoldsWithinASecondElsewhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := NewKeys(w.pool, w.clock) // another process
	key, id, err := other.Create(t.Context(), NewKey{Name: "x", Scopes: []string{ScopeContacts}})
	require.NoError(t, err)
	w.call("GET", "/v1/contacts", nil, "Authorization", "Bearer "+key).ok(200)
	require.NoError(t, other.Revoke(t.Context(), id))
	_, err = other.Check(t.Context(), key)
	require.ErrorIs(t, err, errBadKey, "at once in the process that revoked it")
	revoked := time.Now()
	for w.call("GET", "/v1/contacts", nil, "Authorization", "Bearer "+key).Status != http.StatusUnauthorized {
		require.Less(t, time.Since(revoked), 1500*time.Millisecond)
		time.Sleep(20 * time.Millisecond)
	}
	require.ErrorIs(t, other.Revoke(t.Context(), "nobody"), kairos.ErrNotFound)
}

func TestKeyDefaultsMakeTheTicket(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key, id, err := w.api.keys.Create(t.Context(), NewKey{Name: "shop", Scopes: []string{ScopeAdmin}, Purpose: "orders", Classification: []string{"pci"}})
	require.NoError(t, err)
	who, err := w.api.keys.Check(t.Context(), key)
	require.NoError(t, err)
	none := func(string) string { return "" }
	got, err := ticketOf(none, who, w.clock)
	require.NoError(t, err)
	require.Equal(t, kairos.Ticket{ID: got.ID, Origin: "api", Purpose: "orders", Classification: []string{"pci"}, Actor: id, CreatedAt: epoch}, got)
	headers := http.Header{}
	headers.Set("Kairos-Purpose", "care")
	headers.Set("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	got, err = ticketOf(headers.Get, who, w.clock)
	require.NoError(t, err)
	require.Equal(t, "care", got.Purpose)
	require.Equal(t, []string{"pci"}, got.Classification)
	require.Equal(t, headers.Get("traceparent"), got.TraceParent)
}

func TestRateOfAKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { o.KeyRate = 5 })
	key := w.key(ScopeContacts)
	limited := 0
	for range 30 {
		if r := w.call("GET", "/v1/contacts", nil, "Authorization", "Bearer "+key); r.Status == http.StatusTooManyRequests {
			r.problem(429, "")
			require.NotEmpty(t, r.Header.Get("Retry-After"))
			limited++
		}
	}
	require.Positive(t, limited)
}

func TestFailuresFromOneAddressAreHeldBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { o.FailureRate = 5 })
	w.call("GET", "/v1/contacts", nil).ok(200)
	held := 0
	for range 20 {
		if r := w.call("GET", "/v1/contacts", nil, "Authorization", "Bearer kairos_test_nobody_x"); r.Status == http.StatusTooManyRequests {
			require.NotEmpty(t, r.Header.Get("Retry-After"))
			held++
		}
	}
	require.GreaterOrEqual(t, held, 14)
	w.call("GET", "/v1/contacts", nil).ok(200) // who was known stays welcome
}

func TestDatabaseDownIs503(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := w.api.keys.Check(ctx, "kairos_test_nobody_x")
	require.Error(t, err)
	p := problemOf(err, nil)
	require.Equal(t, 503, p.Status)
	require.Equal(t, "5", p.header.Get("Retry-After"))
}
