package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"
	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"

	"kairos"
	"kairos/analysis"
)

const (
	// streamBuffer is how many events wait for a slow reader; the log waits behind it.
	streamBuffer = 256
	// streamWrite is how long one write may take. A reader that is slower is
	// cut off and comes back with Last-Event-ID.
	streamWrite = 10 * time.Second
	// recheck is how soon a revoked key ends its streams.
	recheck = time.Second
)

// stream registers the live stream of the event log.
func (a *server) stream() {
	handle(a, call{method: http.MethodGet, path: "/v1/events/stream", id: "stream-events", tag: "Events", stream: true,
		summary: "Follow the event log", scopes: []string{ScopeReports}, errors: []int{503},
		about: "Server-sent events, or WebSocket where the request asks for an upgrade: one event each, as in the list. " +
			"The id of each is its cursor: come back with it in `Last-Event-ID` (or `after`) and nothing is missed or repeated. Without it the stream begins now."},
		func(ctx context.Context, in *struct {
			EventFilter
			After       string `query:"after" maxLength:"100" doc:"Begin behind this cursor; start for the beginning of the log."`
			LastEventID string `header:"Last-Event-ID" maxLength:"100" doc:"Begin behind this cursor; wins over after."`
		}) (*huma.StreamResponse, error) {
			q := in.query()
			q.Limit = streamBuffer
			from := in.After
			if in.LastEventID != "" {
				from = in.LastEventID
			}
			var err error
			switch from {
			case "":
				q.After, err = a.opts.Analysis.Head(ctx)
			case "start":
			default:
				q.After, err = kairos.ParseCursor(from)
			}
			if err != nil {
				return nil, err
			}
			return &huma.StreamResponse{Body: func(hctx huma.Context) { a.serveStream(hctx, q) }}, nil
		})
	op := a.api.OpenAPI().Paths["/v1/events/stream"].Get
	op.Responses["200"] = &huma.Response{Description: "Events as they come.", Content: map[string]*huma.MediaType{
		"text/event-stream": {Schema: &huma.Schema{Type: "string"}}}}
	op.Responses["101"] = &huma.Response{Description: "The same over WebSocket: one JSON text message for each event."}
}

// serveStream feeds one reader until it leaves, its key is revoked or the
// server stops.
func (a *server) serveStream(hctx huma.Context, q analysis.EventQuery) {
	r, w := humachi.Unwrap(hctx)
	select {
	case a.streams <- struct{}{}:
		defer func() { <-a.streams }()
	default:
		a.fail(hctx, newProblem(http.StatusServiceUnavailable, "Too many streams are open.").after("10"))
		return
	}
	upgrade := strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
	if upgrade && (r.Header.Get("Sec-WebSocket-Version") != "13" || r.Header.Get("Sec-WebSocket-Key") == "") {
		w.Header().Set("Sec-WebSocket-Version", "13")
		a.fail(hctx, newProblem(http.StatusBadRequest, "The upgrade to WebSocket is not valid.", "header.Sec-WebSocket-Key", "is required, with Sec-WebSocket-Version 13"))
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	control := http.NewResponseController(w)
	begin(control) // the server's time-outs would end the stream

	var out sink
	if upgrade {
		// Authorisation is in a header that no page of another origin can set.
		conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			visitOf(ctx).err = err
			return
		}
		_ = control.SetWriteDeadline(time.Time{})
		ctx = conn.CloseRead(ctx)
		out = &socket{conn}
	} else {
		h := w.Header()
		h.Set("Content-Type", "text/event-stream")
		h.Set("X-Accel-Buffering", "no")
		out = &eventSource{w, control}
		w.WriteHeader(http.StatusOK)
		if err := out.beat(ctx); err != nil {
			return
		}
	}
	err := a.feed(ctx, cancel, r, q, out)
	out.end(err)
}

var errStopping = errors.New("the server is stopping")

// feed moves events from the log to the reader.
func (a *server) feed(ctx context.Context, cancel context.CancelFunc, r *http.Request, q analysis.EventQuery, out sink) error {
	events := make(chan kairos.Event, streamBuffer)
	failed := make(chan error, 1)
	go func() {
		for e, err := range a.opts.Analysis.Follow(ctx, q) {
			if err != nil {
				failed <- err
				return
			}
			select {
			case events <- e:
			case <-ctx.Done():
				return
			}
		}
	}()
	defer cancel()
	_, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	check, beat := time.NewTicker(recheck), time.NewTicker(a.opts.Heartbeat)
	defer check.Stop()
	defer beat.Stop()
	for {
		var err error
		select {
		case e := <-events:
			err = out.send(ctx, &e)
		case <-beat.C:
			err = out.beat(ctx)
		case <-check.C:
			if _, err := a.keys.Check(ctx, strings.TrimSpace(key)); errors.Is(err, errBadKey) {
				return err
			}
		case err = <-failed:
		case <-a.opts.Stopping:
			err = errStopping
		case <-ctx.Done():
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
	}
}

// sink is a reader of the stream.
type sink interface {
	send(ctx context.Context, e *kairos.Event) error
	beat(ctx context.Context) error
	end(cause error)
}

// eventSource writes server-sent events (WHATWG HTML, 9.2).
type eventSource struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

func (s *eventSource) send(_ context.Context, e *kairos.Event) error {
	data, err := json.Marshal(eventOf(e))
	if err != nil {
		return fmt.Errorf("write event: %w", err)
	}
	return s.write(fmt.Appendf(nil, "id: %s\ndata: %s\n\n", e.Cursor, data))
}

func (s *eventSource) beat(context.Context) error { return s.write([]byte(": alive\n\n")) }

func (s *eventSource) write(b []byte) error {
	_ = s.control.SetWriteDeadline(time.Now().Add(streamWrite))
	if _, err := s.w.Write(b); err != nil {
		return err
	}
	return s.control.Flush()
}

// end tells the reader to come back where that helps.
func (s *eventSource) end(cause error) {
	if errors.Is(cause, errStopping) {
		_ = s.write([]byte("retry: 1000\n\n"))
	}
}

// socket writes one text message for each event.
type socket struct{ conn *websocket.Conn }

func (s *socket) send(ctx context.Context, e *kairos.Event) error {
	data, err := json.Marshal(eventOf(e))
	if err != nil {
		return fmt.Errorf("write event: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, streamWrite)
	defer cancel()
	return s.conn.Write(ctx, websocket.MessageText, data)
}

func (s *socket) beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, streamWrite)
	defer cancel()
	return s.conn.Ping(ctx)
}

func (s *socket) end(cause error) {
	code, reason := websocket.StatusInternalError, "try again"
	switch {
	case errors.Is(cause, errStopping):
		code, reason = websocket.StatusGoingAway, "the server is stopping"
	case errors.Is(cause, errBadKey):
		code, reason = websocket.StatusPolicyViolation, "the key was revoked"
	}
	_ = s.conn.Close(code, reason)
}
