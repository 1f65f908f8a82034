package api

import (
	"context"
	"mime"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"

	"kairos/creation"
)

// ImportSummary is a file of contacts on its way in.
type ImportSummary struct {
	ID         ID         `json:"id"`
	State      string     `json:"state" enum:"running,finished,failed"`
	Format     string     `json:"format" enum:"csv,ndjson"`
	Rows       int64      `json:"rows"`
	Created    int64      `json:"created"`
	Updated    int64      `json:"updated"`
	Rejected   int64      `json:"rejected"`
	Error      string     `json:"error,omitempty" doc:"Why it failed."`
	CreatedAt  time.Time  `json:"created_at"`
	FinishedAt *time.Time `json:"finished_at"`
}

// Import is the same with the rows that were refused.
type Import struct {
	ImportSummary
	Errors []ImportError `json:"errors" doc:"The first 1,000."`
}

// ImportError names one row that was refused.
type ImportError struct {
	Row   int64  `json:"row" doc:"Counted from 1, the header of a CSV not counted."`
	Error string `json:"error"`
}

func importSummaryOf(i *creation.Import) ImportSummary {
	return ImportSummary{ID{i.ID}, i.State, i.Format, i.Rows, i.Created, i.Updated, i.Rejected, i.Error, i.CreatedAt, i.FinishedAt}
}

func importOf(i *creation.Import) Import {
	out := Import{importSummaryOf(i), []ImportError{}}
	for _, e := range i.Errors {
		out.Errors = append(out.Errors, ImportError{e.Row, e.Error})
	}
	return out
}

// upload gives the handler the request itself, for a body of any size.
type upload struct{ ctx huma.Context }

// Resolve implements huma.Resolver.
func (u *upload) Resolve(ctx huma.Context) []error {
	u.ctx = ctx
	return nil
}

func (a *server) imports() {
	handle(a, call{method: http.MethodPost, path: "/v1/contacts/import", id: "import-contacts", tag: "Imports", status: 202,
		summary: "Import a file of people", nobody: true, stream: true, scopes: audience, errors: []int{415, 503},
		about: "The body is CSV (`text/csv`, with a header) or NDJSON (`application/x-ndjson`), streamed, of any size. " +
			"Columns: email, external_id, phone, first_name, last_name, locale, timezone, region, attributes (a JSON object); any other becomes an attribute. " +
			"Rows are read as they arrive; follow GET /v1/imports/{id}.\n\n" +
			"With an Idempotency-Key a repeated body is read to its end and compared, and answered with the first import."},
		func(ctx context.Context, in *struct{ upload }) (*body[Import], error) {
			r, w := humachi.Unwrap(in.ctx)
			format, err := importFormat(r.Header.Get("Content-Type"))
			if err != nil {
				return nil, err
			}
			i, err := a.opts.Creation.StartImport(ctx, format, &patient{r.Body, http.NewResponseController(w)})
			return answer(importOf(&i), err)
		})
	op := a.api.OpenAPI().Paths["/v1/contacts/import"].Post
	text := &huma.MediaType{Schema: &huma.Schema{Type: "string"}}
	op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"text/csv": text, "application/x-ndjson": text}}

	handle(a, call{method: http.MethodGet, path: "/v1/imports/{id}", id: "get-import", tag: "Imports",
		summary: "Get an import", scopes: audience},
		func(ctx context.Context, in *ByID) (*body[Import], error) {
			i, err := a.opts.Creation.Import(ctx, in.ID.ID)
			return answer(importOf(&i), err)
		})
	handle(a, call{method: http.MethodGet, path: "/v1/imports", id: "list-imports", tag: "Imports",
		summary: "List imports", about: "The newest first, without the refused rows.", scopes: audience},
		func(ctx context.Context, in *Page) (*listOutput[ImportSummary], error) {
			is, next, err := a.opts.Creation.Imports(ctx, in.Limit, in.After)
			if err != nil {
				return nil, err
			}
			return newList(is, next, importSummaryOf), nil
		})
}

func importFormat(contentType string) (string, error) {
	media, _, err := mime.ParseMediaType(contentType)
	switch {
	case err == nil && media == "text/csv":
		return "csv", nil
	case err == nil && (media == "application/x-ndjson" || media == "application/ndjson"):
		return "ndjson", nil
	}
	return "", newProblem(http.StatusUnsupportedMediaType, "The body must be text/csv or application/x-ndjson.",
		"header.Content-Type", "must be text/csv or application/x-ndjson")
}
