package api

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"kairos/internal/pg"
)

// routeInfo is what the middlewares need to know of a route. It travels in
// the operation's metadata; a route under /v1 without one doesn't register.
type routeInfo struct {
	scopes []string // any of them suffices
	limit  int64    // bytes of the body
	body   bool     // takes a JSON body
	stream bool     // reads its body or writes its answer by itself
	once   string   // member of the answer that is shown once and never kept
}

const routeKey = "kairos.route"

func routeOf(op *huma.Operation) *routeInfo { return op.Metadata[routeKey].(*routeInfo) }

// call describes one route.
type call struct {
	method, path string
	id           string // operation id, unique: "create-campaign"
	tag          string
	summary      string
	about        string   // Markdown, may be empty
	scopes       []string // any of them suffices
	status       int      // of success; 0: 200, or 204 without a body
	limit        int64    // bytes of the body; 0: the server's
	nobody       bool     // a POST without a body
	stream       bool
	once         string // member of the answer that is shown once: what an Idempotency-Key keeps is without it
	also         int    // another status of success, with the same body
	errors       []int  // beyond those every route may answer
}

// handle registers a route: it documents scopes and headers, and turns what
// the handler returns as an error into a problem.
func handle[I, O any](a *server, c call, handler func(context.Context, *I) (*O, error)) {
	info := &routeInfo{scopes: c.scopes, limit: c.limit, stream: c.stream, once: c.once,
		body: !c.nobody && (c.method == http.MethodPost || c.method == http.MethodPut || c.method == http.MethodPatch)}
	if info.limit == 0 {
		info.limit = a.opts.MaxBody
	}
	if !info.body {
		info.limit = min(info.limit, 64<<10)
	}
	op := huma.Operation{
		Method: c.method, Path: c.path, OperationID: c.id, Tags: []string{c.tag},
		Summary: c.summary, Description: describe(c), DefaultStatus: c.status,
		MaxBodyBytes: -1, BodyReadTimeout: -1, // both kept by readBody
		Metadata: map[string]any{routeKey: info}, Responses: map[string]*huma.Response{},
		Errors: append([]int{400, 401, 403, 429}, c.errors...),
	}
	if strings.Contains(c.path, "{") {
		op.Errors = append(op.Errors, 404)
	}
	if c.method != http.MethodGet {
		op.Parameters = append(op.Parameters, ticketParameters()...)
	}
	if info.body {
		op.Errors = append(op.Errors, 413, 415)
	}
	if c.method == http.MethodPost {
		op.Errors = append(op.Errors, 409)
		op.Parameters = append(op.Parameters, &huma.Param{
			Name: idempotencyHeader, In: "header", Schema: &huma.Schema{Type: "string", MinLength: new(1), MaxLength: new(maxKey)},
			Description: "Makes a repetition harmless: for 24 hours the same key with the same body is answered as the first time, with Idempotency-Replayed: true.",
		})
	}
	slices.Sort(op.Errors)
	op.Errors = slices.Compact(op.Errors)
	for _, s := range c.scopes {
		op.Security = append(op.Security, map[string][]string{securityName: {s}})
	}
	a.calls = append(a.calls, c)
	locate := func(field string) string { return locationOf(a.api.OpenAPI().Paths[c.path], c.method, field) }
	huma.Register(a.api, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := handler(ctx, in)
		if c.method == http.MethodGet && pg.Lost(err) { // it only reads: Postgres has been restarted
			out, err = handler(ctx, in)
		}
		if err != nil {
			return nil, a.problem(ctx, err, locate)
		}
		return out, nil
	})
	if c.also != 0 {
		same := *op.Responses[strconv.Itoa(c.status)]
		same.Description = http.StatusText(c.also)
		op.Responses[strconv.Itoa(c.also)] = &same
	}
}

// problem makes the problem of a handler's error and keeps what it hides for
// the log.
func (a *server) problem(ctx context.Context, err error, locate func(string) string) *Problem {
	p := problemOf(err, locate)
	if p.Status >= 500 {
		visitOf(ctx).err = err
		q := *p
		q.Instance = instanceOf(ctx)
		return &q
	}
	return p
}

// fail answers from a middleware.
func (a *server) fail(ctx huma.Context, err error) {
	p := a.problem(ctx.Context(), err, nil)
	for name, values := range p.header {
		for _, v := range values {
			ctx.SetHeader(name, v)
		}
	}
	ctx.SetHeader("Content-Type", p.ContentType(""))
	ctx.SetStatus(p.Status)
	_ = a.api.Marshal(ctx.BodyWriter(), "application/json", p)
}

func describe(c call) string {
	scopes := "Needs the scope `" + strings.Join(c.scopes, "` or `") + "`."
	if c.about == "" {
		return scopes
	}
	return c.about + "\n\n" + scopes
}

// locationOf finds where in the request a field stands.
func locationOf(item *huma.PathItem, method, field string) string {
	var op *huma.Operation
	if item != nil {
		op = map[string]*huma.Operation{
			http.MethodGet: item.Get, http.MethodPost: item.Post, http.MethodPut: item.Put,
			http.MethodPatch: item.Patch, http.MethodDelete: item.Delete,
		}[method]
	}
	if op != nil {
		for _, p := range op.Parameters {
			if p.Name == field && p.In != "header" {
				return p.In + "." + field
			}
		}
		if op.RequestBody == nil {
			return "query." + field
		}
	}
	if field == "" || field == "body" {
		return "body"
	}
	return "body." + field
}

// Page is the query of every list.
type Page struct {
	Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"50" doc:"How many at most."`
	After string `query:"after" maxLength:"500" doc:"The next of the page before."`
}

// list is the answer of every list.
type list[T any] struct {
	Items []T     `json:"items"`
	Next  *string `json:"next" doc:"Pass it as after to get the next page; null at the end."`
}

type listOutput[T any] struct{ Body list[T] }

// newList converts one page of things to their wire shape.
func newList[T, W any](things []T, next string, wire func(*T) W) *listOutput[W] {
	out := &listOutput[W]{Body: list[W]{Items: make([]W, len(things))}}
	for i := range things {
		out.Body.Items[i] = wire(&things[i])
	}
	if next != "" {
		out.Body.Next = &next
	}
	return out
}

// ByID is the input of calls on one thing.
type ByID struct {
	ID ID `path:"id" doc:"Its id."`
}

// body is an answer with a body alone.
type body[T any] struct{ Body T }

func answer[T any](v T, err error) (*body[T], error) {
	if err != nil {
		return nil, err
	}
	return &body[T]{v}, nil
}

// nothing is an answer without a body.
type nothing struct{}
