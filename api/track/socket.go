package track

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/coder/websocket"

	"kairos"
)

const (
	maxFrame    = maxEvent + 8<<10 // bytes of one message: an event, its token and ref
	maxRef      = 200              // bytes
	socketWrite = 10 * time.Second // for one acknowledgement to leave
)

// socketEvent is one event over the WebSocket: a page event, its token, and a
// number or text of the sender's choice that comes back in the acknowledgement.
type socketEvent struct {
	Ref   json.RawMessage `json:"ref"`
	Token string          `json:"token"`
	Event json.RawMessage `json:"event"`
}

// socketAck answers one event: stored with its id, or why not.
type socketAck struct {
	Ref   json.RawMessage `json:"ref,omitempty"`
	ID    string          `json:"id,omitempty"`
	Error string          `json:"error,omitempty"`
	Retry bool            `json:"retry,omitempty"` // the event is in order; send it again later
}

// socket takes page events over a WebSocket, one acknowledgement for each, in
// their order; an event is acknowledged when it is on disk. A message that is
// too long, or silence, ends the connection.
func (c *Collector) socket(w http.ResponseWriter, r *http.Request) {
	if c.sockets.Add(1) > int64(c.opts.Sockets) {
		c.sockets.Add(-1)
		unavailable(w, "Too many connections are open. Try again, or use POST.")
		return
	}
	defer c.sockets.Add(-1)
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true}) // any origin: the token is the permission
	if err != nil {
		return // Accept has answered
	}
	defer func() { _ = conn.CloseNow() }()
	conn.SetReadLimit(maxFrame)
	ctx, agent := r.Context(), machine(r)
	for {
		read, cancel := context.WithTimeout(ctx, c.opts.SocketIdle)
		_, raw, err := conn.Read(read)
		cancel()
		if err != nil {
			return // gone, silent, or told by the library why not
		}
		answer, err := json.Marshal(c.hear(ctx, agent, raw))
		if err != nil {
			return // not with a ref that was JSON
		}
		write, cancel := context.WithTimeout(ctx, socketWrite)
		err = conn.Write(write, websocket.MessageText, answer)
		cancel()
		if err != nil {
			return
		}
	}
}

// hear takes one message and says what became of it.
func (c *Collector) hear(ctx context.Context, machine string, raw []byte) socketAck {
	var in socketEvent
	err := strictly(raw, &in)
	if err != nil || len(in.Ref) > maxRef {
		return socketAck{Error: `body must be {"ref", "token", "event": {"kind", ...}} with a short ref`}
	}
	ack := socketAck{Ref: in.Ref}
	claims, err := c.pageClaims(in.Token)
	if err != nil {
		ack.Error = "token is not valid"
		return ack
	}
	if len(in.Event) > maxEvent {
		ack.Error = "event is longer than 32 KiB"
		return ack
	}
	id, err := c.take(ctx, claims, machine, in.Event)
	var field *kairos.FieldError
	switch {
	case err == nil:
		ack.ID = id.String()
	case errors.As(err, &field):
		ack.Error = field.Error()
	default:
		ack.Error, ack.Retry = "event could not be stored", true
	}
	return ack
}
