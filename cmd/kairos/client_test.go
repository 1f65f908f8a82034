package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestClientAsksAgain: a question that the server can't answer for now is asked
// again when the server said; one that it refuses, or that changes something, is not.
func TestClientAsksAgain(t *testing.T) {
	cases := map[string]struct {
		first, asked int
		call         func(context.Context, *client) error
		fine         bool
	}{
		"unavailable":        {http.StatusServiceUnavailable, 2, get, true},
		"too often":          {http.StatusTooManyRequests, 2, get, true},
		"not there":          {http.StatusNotFound, 1, get, false},
		"changing something": {http.StatusServiceUnavailable, 1, post, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if asked++; asked == 1 {
					w.Header().Set("Retry-After", "1")
					w.WriteHeader(c.first)
					return
				}
				_, _ = fmt.Fprint(w, `{}`)
			}))
			defer server.Close()
			begun := time.Now()
			err := c.call(t.Context(), &client{Server: server.URL, APIKey: "key"})
			require.Equal(t, c.fine, err == nil, "%v", err)
			require.Equal(t, c.asked, asked)
			if c.fine {
				require.GreaterOrEqual(t, time.Since(begun), time.Second)
			}
		})
	}
}

func get(ctx context.Context, c *client) error  { return c.get(ctx, "/", nil) }
func post(ctx context.Context, c *client) error { return c.post(ctx, "/", nil, nil) }
