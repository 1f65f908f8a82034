package track

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/internal/spool"
	"kairos/internal/token"
)

// dial opens a WebSocket to d as a page of another origin does.
func dial(t *testing.T, d *door) (*websocket.Conn, context.Context) {
	t.Helper()
	server := httptest.NewServer(d)
	t.Cleanup(server.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	conn, _, err := websocket.Dial(ctx, server.URL+"/t/ws", &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {"https://shop.example"}}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.CloseNow() })
	return conn, ctx
}

func send(ctx context.Context, t *testing.T, conn *websocket.Conn, message string) {
	t.Helper()
	require.NoError(t, conn.Write(ctx, websocket.MessageText, []byte(message)))
}

func hear(ctx context.Context, t *testing.T, conn *websocket.Conn) (ack socketAck) {
	t.Helper()
	_, raw, err := conn.Read(ctx)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, &ack))
	return ack
}

func TestSocketOrder(t *testing.T) {
	d := open(t)
	conn, ctx := dial(t, d)
	tok := d.token(token.PurposeTrack)
	const n = 200
	for i := range n { // all at once: acknowledgements come one for each, in order
		send(ctx, t, conn, fmt.Sprintf(`{"ref":%d,"token":%q,"event":{"kind":"cta.clicked","key":"k%d"}}`, i, tok, i))
	}
	var ids []string
	for i := range n {
		ack := hear(ctx, t, conn)
		require.Equal(t, fmt.Sprint(i), string(ack.Ref))
		require.Empty(t, ack.Error)
		ids = append(ids, ack.ID)
		require.GreaterOrEqual(t, d.spool.Stats().Appended, uint64(i+1), "acknowledged when it is on disk")
	}
	hits := d.hits(t)
	require.Len(t, hits, n)
	for i, h := range hits {
		require.Equal(t, ids[i], h.Event.ID.String())
		require.Equal(t, fmt.Sprintf("k%d", i), h.Event.Key)
		require.True(t, h.Keyed)
		require.Equal(t, notification, h.Event.Notification)
	}
}

func TestSocketAnswers(t *testing.T) {
	d := open(t)
	conn, ctx := dial(t, d)
	tok := d.token(token.PurposeTrack)
	stored := 0
	for _, c := range []struct{ name, message, ref, error string }{
		{"stored", `{"ref":"a","token":"` + tok + `","event":{"kind":"page.viewed"}}`, `"a"`, ""},
		{"click token", `{"token":"` + d.token(token.PurposeClick) + `","event":{"kind":"page.viewed"}}`, "", ""},
		{"no JSON", `hello`, "", "body "},
		{"unknown field", `{"ref":1,"token":"` + tok + `","event":{"kind":"page.viewed"},"x":1}`, "", "body "},
		{"long ref", `{"ref":"` + strings.Repeat("r", 300) + `","token":"` + tok + `","event":{"kind":"page.viewed"}}`, "", "body "},
		{"deep ref", `{"ref":` + nested(40) + `,"token":"` + tok + `","event":{"kind":"page.viewed"}}`, "", "body "},
		{"bad token", `{"ref":2,"token":"nonsense","event":{"kind":"page.viewed"}}`, "2", "token is not valid"},
		{"wrong purpose", `{"ref":3,"token":"` + d.token(token.PurposeUnsubscribe) + `","event":{"kind":"page.viewed"}}`, "3", "token is not valid"},
		{"no event", `{"ref":4,"token":"` + tok + `"}`, "4", "body "},
		{"bad event", `{"ref":5,"token":"` + tok + `","event":{"kind":"contact.erased"}}`, "5", "kind "},
		{"long event", `{"ref":6,"token":"` + tok + `","event":{"kind":"page.viewed","data":{"a":"` + strings.Repeat("x", maxEvent) + `"}}}`, "6", "event is longer"},
		{"stored after all that", `{"ref":7,"token":"` + tok + `","event":{"kind":"payment.received","amount":1,"currency":"EUR"}}`, "7", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			send(ctx, t, conn, c.message)
			ack := hear(ctx, t, conn)
			require.Equal(t, c.ref, string(ack.Ref))
			require.False(t, ack.Retry)
			if c.error == "" {
				stored++
				require.Empty(t, ack.Error)
				require.NotEmpty(t, ack.ID)
				return
			}
			require.True(t, strings.HasPrefix(ack.Error, c.error), ack.Error)
			require.Empty(t, ack.ID)
		})
	}
	require.Len(t, d.hits(t), stored)
}

func TestSocketRetry(t *testing.T) {
	d := open(t)
	conn, ctx := dial(t, d)
	require.NoError(t, d.spool.Close())
	send(ctx, t, conn, `{"ref":1,"token":"`+d.token(token.PurposeTrack)+`","event":{"kind":"page.viewed"}}`)
	require.Equal(t, socketAck{Ref: json.RawMessage("1"), Error: "event could not be stored", Retry: true}, hear(ctx, t, conn))
}

func TestSocketTooLong(t *testing.T) {
	d := open(t)
	conn, ctx := dial(t, d)
	send(ctx, t, conn, strings.Repeat("x", maxFrame+1))
	_, _, err := conn.Read(ctx)
	require.Equal(t, websocket.StatusMessageTooBig, websocket.CloseStatus(err), "%v", err)
	d.empty(t)
}

func TestSocketIdle(t *testing.T) {
	d := open(t, func(o *Options, _ *spool.Options) { o.SocketIdle = 50 * time.Millisecond })
	conn, ctx := dial(t, d)
	_, _, err := conn.Read(ctx)
	require.Error(t, err)
	require.NoError(t, ctx.Err(), "the collector ended it")
}

func TestSocketLimit(t *testing.T) {
	d := open(t, func(o *Options, _ *spool.Options) { o.Sockets = 1 })
	conn, _ := dial(t, d)
	r := d.do(http.MethodGet, "/t/ws", "")
	require.Equal(t, 503, r.StatusCode)
	require.Equal(t, "5", r.Header.Get("Retry-After"))
	require.NoError(t, conn.Close(websocket.StatusNormalClosure, ""))
	require.Eventually(t, func() bool { return d.sockets.Load() == 0 }, 10*time.Second, time.Millisecond)
	conn, ctx := dial(t, d)
	send(ctx, t, conn, `{"token":"`+d.token(token.PurposeTrack)+`","event":{"kind":"page.viewed"}}`)
	require.NotEmpty(t, hear(ctx, t, conn).ID)
	d.one(t, kairos.PageViewed)
}
