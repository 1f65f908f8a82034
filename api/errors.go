package api

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/jackc/pgx/v5/pgconn"

	"kairos"
)

// Problem is the body of every error (RFC 9457).
type Problem struct {
	Type     string         `json:"type" doc:"Always about:blank: the status says what kind of problem it is."`
	Title    string         `json:"title" doc:"The status in words."`
	Status   int            `json:"status" doc:"The HTTP status."`
	Detail   string         `json:"detail,omitempty" doc:"What went wrong this time."`
	Instance string         `json:"instance,omitempty" doc:"The request, as it stands in the server's log."`
	Errors   []FieldProblem `json:"errors,omitempty" doc:"What is wrong with which field."`

	header http.Header
}

// FieldProblem names one field of the request and what is wrong with it. It
// never holds the value.
type FieldProblem struct {
	Location string `json:"location" doc:"body.schedule.at, query.limit, path.id, header.Idempotency-Key"`
	Message  string `json:"message" doc:"What is wrong with it."`
}

// Error implements error.
func (p *Problem) Error() string { return p.Detail }

// GetStatus implements huma.StatusError.
func (p *Problem) GetStatus() int { return p.Status }

// GetHeaders implements huma.HeadersError.
func (p *Problem) GetHeaders() http.Header { return p.header }

// ContentType implements huma.ContentTypeFilter.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// newProblem returns a problem of status with detail; pairs are locations and
// messages of fields.
func newProblem(status int, detail string, pairs ...string) *Problem {
	p := &Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail}
	for i := 0; i+1 < len(pairs); i += 2 {
		p.Errors = append(p.Errors, FieldProblem{pairs[i], pairs[i+1]})
	}
	return p
}

// after tells the client when to come back.
func (p *Problem) after(seconds string) *Problem {
	p.header = http.Header{"Retry-After": {seconds}}
	return p
}

const (
	internalDetail    = "Something went wrong on the server. The request is in its log under the id in instance."
	unavailableDetail = "The server can't do this at the moment. Try again."
)

// problemOf is the one place where an error becomes a status. locate turns the
// field of a kairos.FieldError into a location; nil puts it into the body.
// The caller logs err when the status is 500 or above.
func problemOf(err error, locate func(field string) string) *Problem {
	var p *Problem
	var field *kairos.FieldError
	var tooLarge *http.MaxBytesError
	var connect *pgconn.ConnectError
	var server *pgconn.PgError
	var network net.Error
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &field):
		at := "body"
		if locate != nil {
			at = locate(field.Field)
		} else if field.Field != "" {
			at += "." + field.Field
		}
		return newProblem(http.StatusUnprocessableEntity, "The request is not valid.", at, field.Reason)
	case errors.As(err, &tooLarge):
		return newProblem(http.StatusRequestEntityTooLarge, "The body is too large.")
	case errors.Is(err, kairos.ErrNotFound):
		return newProblem(http.StatusNotFound, "There is no such thing.")
	case errors.Is(err, kairos.ErrForbidden):
		return newProblem(http.StatusForbidden, "The key may not do this.")
	case errors.Is(err, kairos.ErrConflict):
		return newProblem(http.StatusConflict, reasonOf(err, kairos.ErrConflict, "The present state doesn't allow this."))
	case errors.Is(err, kairos.ErrInvalid):
		return newProblem(http.StatusUnprocessableEntity, "The request is not valid.")
	case errors.As(err, &server):
		switch {
		case server.Code == "22021" || server.Code == "22P05": // characters Postgres can't hold
			return newProblem(http.StatusUnprocessableEntity, "The request holds characters that can't be stored.")
		case strings.HasPrefix(server.Code, "08"), strings.HasPrefix(server.Code, "53"), strings.HasPrefix(server.Code, "57"):
			return newProblem(http.StatusServiceUnavailable, unavailableDetail).after("5")
		}
		return newProblem(http.StatusInternalServerError, internalDetail)
	case errors.Is(err, kairos.ErrUnavailable), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled),
		errors.As(err, &connect), errors.As(err, &network), pgconn.SafeToRetry(err):
		return newProblem(http.StatusServiceUnavailable, unavailableDetail).after("5")
	}
	return newProblem(http.StatusInternalServerError, internalDetail)
}

// reasonOf returns the part of an error's text that was written for the
// caller: what stands before the sentinel in "reason: conflict". Texts that
// were wrapped on the way ("launch campaign <id>: it is a draft: conflict")
// keep their last clause.
func reasonOf(err, sentinel error, fallback string) string {
	text, ok := strings.CutSuffix(err.Error(), ": "+sentinel.Error())
	if !ok {
		return fallback
	}
	if i := strings.LastIndex(text, ": "); i >= 0 {
		text = text[i+2:]
	}
	if text == "" || len(text) > 200 {
		return fallback
	}
	return strings.ToUpper(text[:1]) + strings.TrimSuffix(text[1:], ".") + "."
}

// writeProblem answers with p outside huma: unknown paths, panics, limits.
func writeProblem(w http.ResponseWriter, r *http.Request, p *Problem) {
	q := *p
	if q.Status >= 500 {
		q.Instance = instanceOf(r.Context())
	}
	for name, values := range p.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	if r.Method != http.MethodHead {
		_ = json.NewEncoder(w).Encode(&q)
	}
}

var adoptOnce sync.Once

// adoptErrors makes huma answer with Problems. Its hooks are variables of its
// package, so this happens once for the process.
func adoptErrors() {
	adoptOnce.Do(func() {
		huma.ValidateStrictCasing = true
		huma.DefaultArrayNullable = false
		huma.NewError = func(status int, detail string, errs ...error) huma.StatusError {
			return fromHuma(status, detail, errs)
		}
		huma.NewErrorWithContext = func(ctx huma.Context, status int, detail string, errs ...error) huma.StatusError {
			p := fromHuma(status, detail, errs)
			if ctx != nil && p.Status >= 500 {
				p.Instance = instanceOf(ctx.Context())
			}
			return p
		}
	})
}

// fromHuma translates what huma found wrong with a request.
func fromHuma(status int, detail string, errs []error) *Problem {
	switch {
	case status >= 500:
		if len(errs) == 1 {
			return problemOf(errs[0], nil)
		}
		return newProblem(status, internalDetail)
	case status == http.StatusUnprocessableEntity:
		detail = "The request is not valid."
	case status == http.StatusRequestEntityTooLarge:
		detail = "The body is too large."
	case status == http.StatusBadRequest && detail == "validation failed":
		detail = "The body is not valid JSON."
	case status == http.StatusBadRequest && detail == "request body is required":
		return newProblem(status, "The request needs a body.", "body", "is required")
	case status == http.StatusUnsupportedMediaType:
		return newProblem(status, "The body must be application/json.", "header.Content-Type", "must be application/json")
	case status == http.StatusNotAcceptable:
		return newProblem(status, "The answer is only to be had as JSON.")
	}
	p := newProblem(status, detail)
	for _, err := range errs {
		if err == nil {
			continue
		}
		f, unknown := fieldOf(err)
		if unknown {
			p.Status, p.Title, p.Detail = http.StatusBadRequest, http.StatusText(http.StatusBadRequest), "The request holds an unknown field."
		}
		p.Errors = append(p.Errors, f)
	}
	return p
}

// fieldOf rewrites one finding: the location names the field also where it is
// missing, and no value or type of Go shows. unknown: the field is not known.
func fieldOf(err error) (f FieldProblem, unknown bool) {
	var field *kairos.FieldError
	if errors.As(err, &field) {
		return FieldProblem{"body." + field.Field, field.Reason}, false
	}
	var d huma.ErrorDetailer
	if !errors.As(err, &d) {
		return FieldProblem{"body", "is not valid"}, false
	}
	e := d.ErrorDetail()
	at, msg := e.Location, e.Message
	switch {
	case msg == "unexpected property", msg == "unknown query parameter":
		return FieldProblem{at, "is not a known field"}, true
	case strings.HasPrefix(msg, "expected required property "):
		name, _, _ := strings.Cut(strings.TrimPrefix(msg, "expected required property "), " ")
		return FieldProblem{at + "." + name, "is required"}, false
	case strings.HasPrefix(msg, "required ") && strings.HasSuffix(msg, " parameter is missing"):
		return FieldProblem{at, "is required"}, false
	case strings.HasPrefix(msg, "expected "):
		msg = strings.TrimPrefix(msg, "expected ")
		msg = strings.TrimPrefix(msg, "string to be ")
		msg = strings.TrimPrefix(msg, "value to be ")
		msg = "must be " + msg
		msg = strings.Replace(msg, "must be length ", "must have a length ", 1)
		msg = strings.Replace(msg, "must be array length ", "must have a number of items ", 1)
	case strings.HasPrefix(msg, "invalid value: "):
		msg = "is not valid: " + strings.TrimPrefix(msg, "invalid value: ")
	case strings.HasPrefix(msg, "invalid "):
		msg = "is an " + msg
	case at == "body" && (strings.HasPrefix(msg, "json: ") || strings.HasPrefix(msg, "invalid character") || strings.HasPrefix(msg, "unexpected end")):
		msg = "is not valid JSON"
	}
	return FieldProblem{at, msg}, false
}

// absent turns "there is none" about something the body names into a finding
// about that field: 404 would be about the path.
func absent(err error, field string) error {
	if errors.Is(err, kairos.ErrNotFound) {
		return kairos.Invalid(field, "doesn't exist")
	}
	return err
}

// relocate says a finding of another call's input about a field of this one's.
func relocate(err error, field string) error {
	var f *kairos.FieldError
	if errors.As(err, &f) {
		return &kairos.FieldError{Field: field, Reason: f.Reason}
	}
	return err
}
