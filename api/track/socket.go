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

// socketIdle ends a connection that says nothing for so long.
const socketIdle = 2 * time.Minute

// socketEvent is one event over the WebSocket: a page event, its token, and a
// number of the sender's choice that comes back in the acknowledgement.
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
// their order; an event is acknowledged when it is on disk.
func (c *Collector) socket(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true}) // any origin: the token is the permission
	if err != nil {
		return // Accept has answered
	}
	defer func() { _ = conn.CloseNow() }()
	conn.SetReadLimit(maxEvent + 8<<10)
	for {
		ack, err := c.hear(r, conn)
		if err != nil {
			_ = conn.Close(websocket.StatusNormalClosure, "")
			return
		}
		raw, err := json.Marshal(ack)
		if err != nil {
			return
		}
		write, cancel := context.WithTimeout(r.Context(), 10*time.Second)
		err = conn.Write(write, websocket.MessageText, raw)
		cancel()
		if err != nil {
			return
		}
	}
}

// hear reads one event and keeps it. An error ends the connection.
func (c *Collector) hear(r *http.Request, conn *websocket.Conn) (ack socketAck, err error) {
	ctx, cancel := context.WithTimeout(r.Context(), socketIdle)
	defer cancel()
	_, raw, err := conn.Read(ctx)
	if err != nil {
		return ack, err
	}
	var in socketEvent
	if json.Unmarshal(raw, &in) != nil {
		return socketAck{Error: "must be {\"ref\", \"token\", \"event\": {\"kind\", ...}}"}, nil
	}
	ack.Ref = in.Ref
	claims, err := c.pageClaims(in.Token)
	if err != nil {
		ack.Error = "token is not valid"
		return ack, nil
	}
	id, err := c.take(r, claims, in.Event)
	var field *kairos.FieldError
	switch {
	case err == nil:
		ack.ID = id.String()
	case errors.As(err, &field):
		ack.Error = field.Error()
	default:
		ack.Error, ack.Retry = "could not be stored", true
	}
	return ack, nil
}
