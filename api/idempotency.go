package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"

	"kairos"
)

const (
	idempotencyHeader = "Idempotency-Key"
	replayedHeader    = "Idempotency-Replayed"
	maxKey            = 255
	// lease is how long a running request is believed to be alive; it is
	// renewed while it runs. After a crash the key is free again this much later.
	lease = 20 * time.Second
	// runTime bounds a request with a key: it goes on when its client leaves.
	runTime = 2 * time.Minute
)

// idempotent answers a POST with an Idempotency-Key once. The first request
// runs, also when its client goes away meanwhile, and its answer is kept for
// 24 hours; the same request is answered with it. Another body under the same
// key is 422, a key whose first request still runs 409. Answers of 500 and
// above, 408 and 429 are not kept: the next try runs again.
//
// The body of an import streams past, so its hash is known only at its end: a
// repetition is read to the end, compared, and nothing of it is stored.
//
// A process that dies between the effect and the record leaves a key that may
// run again after the lease. What the calls create is then told apart by its
// own keys (external_id, event key, message key); a draft may be there twice.
func (a *server) idempotent(ctx huma.Context, next func(huma.Context)) {
	r, w := humachi.Unwrap(ctx)
	key := r.Header.Get(idempotencyHeader)
	if r.Method != http.MethodPost || key == "" {
		next(ctx)
		return
	}
	if len(key) > maxKey || !printable(key) {
		a.fail(ctx, newProblem(http.StatusBadRequest, "The request is not valid.", "header."+idempotencyHeader, "must have 1 to 255 visible ASCII characters"))
		return
	}
	v := visitOf(ctx.Context())
	route := routeOf(ctx.Operation())
	sum := requestHash(r)
	if !route.stream {
		sum.Write(v.body)
	}
	rec := record{caller: v.key, key: key, request: sum.Sum(nil)}
	held, old, err := rec.take(ctx.Context(), a.opts.Pool)
	if err != nil {
		a.fail(ctx, err)
		return
	}
	if held.IsZero() {
		a.replay(ctx, route, old, sum)
		return
	}

	work := r.Context()
	if !route.stream {
		var cancel context.CancelFunc
		work, cancel = context.WithTimeout(context.WithoutCancel(work), runTime)
		defer cancel()
	} else {
		r.Body = hashing{r.Body, sum}
	}
	stop := rec.keep(work, a.opts.Pool, &held)
	kept := &memory{header: http.Header{}, under: w}
	finished := false
	defer func() { // also when the handler panics
		stop()
		end, cancel := context.WithTimeout(context.WithoutCancel(work), 5*time.Second)
		defer cancel()
		var err error
		if finished && worthKeeping(kept.status) {
			if route.stream {
				rec.request = sum.Sum(nil)
			}
			err = rec.store(end, a.opts.Pool, held, kept.without(route.once))
		} else {
			err = rec.drop(end, a.opts.Pool, held)
		}
		if err != nil {
			a.opts.Logger.ErrorContext(end, "end idempotent request", "error", err.Error(), "request", v.id.String())
		}
		if finished {
			kept.send(w)
		}
	}()
	next(humachi.NewContext(ctx.Operation(), r.WithContext(work), kept))
	finished = true
}

// replay answers a request whose key is taken.
func (a *server) replay(ctx huma.Context, route *routeInfo, old *record, sum hash.Hash) {
	if old == nil || old.state != "done" {
		if old != nil && !route.stream && !bytes.Equal(old.request, sum.Sum(nil)) {
			a.fail(ctx, errOtherBody())
			return
		}
		a.fail(ctx, newProblem(http.StatusConflict, "The first request with this Idempotency-Key is still running.").after("1"))
		return
	}
	r, w := humachi.Unwrap(ctx)
	if route.stream {
		if _, err := io.Copy(sum, &patient{r.Body, http.NewResponseController(w)}); err != nil {
			a.fail(ctx, err)
			return
		}
	}
	if !bytes.Equal(old.request, sum.Sum(nil)) {
		a.fail(ctx, errOtherBody())
		return
	}
	w.Header().Set(replayedHeader, "true")
	old.answer.send(w)
}

func errOtherBody() error {
	return newProblem(http.StatusUnprocessableEntity, "The Idempotency-Key was used for another request.",
		"header."+idempotencyHeader, "belongs to a request with another path or body")
}

// requestHash starts the hash of a request with what precedes its body.
func requestHash(r *http.Request) hash.Hash {
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "%s\n%s\n%s\n", r.Method, r.URL.RequestURI(), r.Header.Get("Content-Type"))
	return h
}

func worthKeeping(status int) bool {
	return status >= 200 && status < 500 && status != http.StatusRequestTimeout && status != http.StatusTooManyRequests
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// hashing feeds what is read from a streamed body into the hash.
type hashing struct {
	io.ReadCloser
	sum hash.Hash
}

// Read implements io.Reader.
func (h hashing) Read(b []byte) (int, error) {
	n, err := h.ReadCloser.Read(b)
	h.sum.Write(b[:n])
	return n, err
}

// memory is an answer that is kept before it is sent.
type memory struct {
	header http.Header
	status int
	body   bytes.Buffer
	under  http.ResponseWriter // for the deadlines of the connection
}

// Unwrap serves http.ResponseController.
func (m *memory) Unwrap() http.ResponseWriter { return m.under }

// Header implements http.ResponseWriter.
func (m *memory) Header() http.Header { return m.header }

// WriteHeader implements http.ResponseWriter.
func (m *memory) WriteHeader(status int) {
	if m.status == 0 {
		m.status = status
	}
}

// Write implements http.ResponseWriter.
func (m *memory) Write(b []byte) (int, error) {
	m.WriteHeader(http.StatusOK)
	return m.body.Write(b)
}

// without returns the answer without a member of its body, which is a JSON
// object; an empty name leaves it as it is.
func (m *memory) without(member string) *memory {
	if member == "" {
		return m
	}
	out := &memory{header: m.header, status: m.status}
	var body map[string]json.RawMessage
	if json.Unmarshal(m.body.Bytes(), &body) == nil {
		delete(body, member)
		if raw, err := json.Marshal(body); err == nil {
			out.body.Write(raw)
		}
	}
	return out
}

func (m *memory) send(w http.ResponseWriter) {
	for name, values := range m.header {
		w.Header()[name] = values
	}
	w.WriteHeader(m.status)
	_, _ = w.Write(m.body.Bytes())
}

// keyText is for messages of tests and logs: a key may be personal.
func (r *record) keyText() string {
	sum := sha256.Sum256([]byte(r.key))
	return hex.EncodeToString(sum[:4])
}

var errLost = fmt.Errorf("idempotency record was taken over: %w", kairos.ErrConflict)
