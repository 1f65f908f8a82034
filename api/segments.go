package api

import (
	"context"
	"net/http"
	"time"

	"kairos/creation"
)

// SegmentInput is the body of POST /v1/segments.
type SegmentInput struct {
	Name       string `json:"name" minLength:"1" maxLength:"200"`
	Expression string `json:"expression" minLength:"1" maxLength:"10000" doc:"A condition over attributes and behaviour, compiled to parameterised SQL." example:"region == \"EU\" and attributes.plan == \"pro\""`
}

// Segment is a named condition on people.
type Segment struct {
	ID         ID        `json:"id"`
	Name       string    `json:"name"`
	Expression string    `json:"expression"`
	CreatedAt  time.Time `json:"created_at"`
}

func segmentOf(s *creation.Segment) Segment {
	return Segment{ID{s.ID}, s.Name, s.Expression, s.CreatedAt}
}

// SegmentCount is the size of a segment now.
type SegmentCount struct {
	Count int64 `json:"count"`
}

func (a *server) segments() {
	scopes := []string{ScopeContacts, ScopeCampaigns}
	handle(a, call{method: http.MethodPost, path: "/v1/segments", id: "create-segment", tag: "Segments", status: 201,
		summary: "Create a segment", scopes: scopes},
		func(ctx context.Context, in *struct{ Body SegmentInput }) (*body[Segment], error) {
			s, err := a.opts.Creation.CreateSegment(ctx, in.Body.Name, in.Body.Expression)
			return answer(segmentOf(&s), err)
		})
	handle(a, call{method: http.MethodGet, path: "/v1/segments", id: "list-segments", tag: "Segments",
		summary: "List segments", scopes: scopes},
		func(ctx context.Context, in *Page) (*listOutput[Segment], error) {
			ss, next, err := a.opts.Creation.Segments(ctx, in.Limit, in.After)
			if err != nil {
				return nil, err
			}
			return newList(ss, next, segmentOf), nil
		})
	handle(a, call{method: http.MethodGet, path: "/v1/segments/{id}", id: "get-segment", tag: "Segments",
		summary: "Get a segment", scopes: scopes},
		func(ctx context.Context, in *ByID) (*body[Segment], error) {
			s, err := a.opts.Creation.Segment(ctx, in.ID.ID)
			return answer(segmentOf(&s), err)
		})
	handle(a, call{method: http.MethodGet, path: "/v1/segments/{id}/count", id: "count-segment", tag: "Segments",
		summary: "Count a segment's people", scopes: scopes},
		func(ctx context.Context, in *ByID) (*body[SegmentCount], error) {
			n, err := a.opts.Creation.CountSegment(ctx, in.ID.ID)
			return answer(SegmentCount{n}, err)
		})
}
