package api

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
)

const (
	// bodyTime is how long the body of a JSON request may take.
	bodyTime = 60 * time.Second
	// chunkTime is how long a streamed body may stay silent.
	chunkTime = 60 * time.Second
	// answerTime is how long work and answer may take once the body is read. The
	// server's own time-outs run from the request's first byte.
	answerTime = 5 * time.Minute
)

// bounded reads the whole JSON body, within the route's limit, so that huma
// and the idempotency record work on the same bytes. Streamed routes read for
// themselves.
func (a *server) bounded(ctx huma.Context, next func(huma.Context)) {
	route := routeOf(ctx.Operation())
	r, w := humachi.Unwrap(ctx)
	if route.stream || r.Method == http.MethodGet || r.Method == http.MethodHead {
		begin(http.NewResponseController(w))
		next(ctx)
		return
	}
	body, err := readBody(w, r, route)
	if err != nil {
		a.fail(ctx, err)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.ContentLength = int64(len(body))
	visitOf(ctx.Context()).body = body
	next(ctx)
}

func readBody(w http.ResponseWriter, r *http.Request, route *routeInfo) ([]byte, error) {
	if e := r.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return nil, newProblem(http.StatusUnsupportedMediaType, "The body must not be compressed.", "header.Content-Encoding", "must be identity")
	}
	if r.ContentLength > route.limit {
		return nil, &http.MaxBytesError{Limit: route.limit}
	}
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(bodyTime)) // not every writer of a test can
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, route.limit))
	begin(control)
	if err != nil {
		return nil, readError(err)
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, nil
	}
	if ct := r.Header.Get("Content-Type"); ct != "" {
		if media, _, err := mime.ParseMediaType(ct); err != nil || media != "application/json" {
			return nil, newProblem(http.StatusUnsupportedMediaType, "The body must be application/json.", "header.Content-Type", "must be application/json")
		}
	}
	if err := checkJSON(body); err != nil {
		return nil, err
	}
	if !route.body && string(bytes.Join(bytes.Fields(body), nil)) != "{}" {
		return nil, newProblem(http.StatusBadRequest, "The call takes no body.", "body", "must be empty")
	}
	return body, nil
}

// begin starts the time for work and answer. A read deadline that ran out
// during the work would cancel it.
func begin(control *http.ResponseController) {
	_ = control.SetReadDeadline(time.Time{})
	_ = control.SetWriteDeadline(time.Now().Add(answerTime))
}

// readError tells a slow client from a broken one.
func readError(err error) error {
	var tooLarge *http.MaxBytesError
	var network net.Error
	switch {
	case errors.As(err, &tooLarge):
		return tooLarge
	case errors.As(err, &network) && network.Timeout():
		return newProblem(http.StatusRequestTimeout, "The body did not arrive in time.")
	}
	return newProblem(http.StatusBadRequest, "The body ended early.", "body", "is incomplete")
}

// patient is a streamed body that may take as long as it likes, as long as it
// does not fall silent.
type patient struct {
	body    io.ReadCloser
	control *http.ResponseController
}

// Read implements io.Reader.
func (p *patient) Read(b []byte) (int, error) {
	_ = p.control.SetReadDeadline(time.Now().Add(chunkTime))
	n, err := p.body.Read(b)
	if err != nil {
		begin(p.control)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = readError(err)
	}
	return n, err
}
