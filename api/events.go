package api

import (
	"context"
	"errors"
	"net/http"

	"kairos"
	"kairos/analysis"
)

// EventBatch is the body of POST /v1/events.
type EventBatch struct {
	Events []EventInput `json:"events" minItems:"1" maxItems:"1000"`
}

// EventResult tells what became of each event, in their order.
type EventResult struct {
	Accepted   int           `json:"accepted" doc:"New in the log."`
	Duplicates int           `json:"duplicates" doc:"Known before."`
	Rejected   int           `json:"rejected"`
	Results    []EventStatus `json:"results"`
}

// EventStatus is what became of one event.
type EventStatus struct {
	Index  int    `json:"index"`
	Status string `json:"status" enum:"accepted,duplicate,rejected"`
	ID     *ID    `json:"id,omitempty" doc:"Of the event in the log; of a duplicate the first one's."`
	Error  string `json:"error,omitempty"`
}

func (a *server) events() {
	handle(a, call{method: http.MethodPost, path: "/v1/events", id: "record-events", tag: "Events", status: 202,
		summary: "Record up to 1,000 events", about: "Each names a token, a notification, a contact or an external_id. A refused one doesn't stop the others. 202 when the accepted ones are durable.",
		scopes: []string{ScopeEvents}},
		func(ctx context.Context, in *struct{ Body EventBatch }) (*body[EventResult], error) {
			out, err := a.record(ctx, in.Body.Events)
			return answer(out, err)
		})
	const path = "/v1/events"
	handle(a, call{method: http.MethodGet, path: path, id: "list-events", tag: "Events",
		summary: "Replay the event log", about: "In the log's order, from its start or behind after. At the end next is null: keep the cursor of the last event and ask again later." +
			asTable + " A table has no next: go on behind the cursor of its last row.",
		scopes: []string{ScopeReports}},
		func(ctx context.Context, in *eventQuery) (*reportOutput, error) {
			q, err := in.query()
			if err != nil {
				return nil, err
			}
			events, next, err := a.opts.Analysis.Events(ctx, q)
			if err != nil {
				return nil, err
			}
			if len(events) < in.Limit {
				next = kairos.Cursor{}
			}
			return in.write("events", newList(events, next.String(), eventOf).Body, rowsOf(analysis.EventRows(events)))
		})
	documentTable[list[Event]](a, path)
}

// eventQuery asks for a page of the log.
type eventQuery struct {
	Page
	EventFilter
	ReportForm
}

// EventFilter is the part of a query that narrows a reading of the log.
type EventFilter struct {
	Kind         []string `query:"kind" maxItems:"50" doc:"Only these kinds, separated by commas."`
	Campaign     ID       `query:"campaign"`
	Contact      ID       `query:"contact"`
	Notification ID       `query:"notification"`
}

func (f *EventFilter) query() analysis.EventQuery {
	return analysis.EventQuery{Kinds: f.Kind, Campaign: f.Campaign.ID, Contact: f.Contact.ID, Notification: f.Notification.ID}
}

func (q *eventQuery) query() (analysis.EventQuery, error) {
	out := q.EventFilter.query()
	out.Limit = q.Limit
	var err error
	out.After, err = kairos.ParseCursor(q.After)
	return out, err
}

// record hands the events that make sense to the log.
func (a *server) record(ctx context.Context, in []EventInput) (EventResult, error) {
	out := EventResult{Results: make([]EventStatus, len(in))}
	hits, at := make([]kairos.Hit, 0, len(in)), make([]int, 0, len(in)) // at: their places
	reject := func(i int, err error) {
		out.Rejected++
		out.Results[i] = EventStatus{Index: i, Status: "rejected", Error: rejection(err)}
	}
	for i := range in {
		h, err := in[i].hit(a.opts.OpenToken)
		if err != nil {
			reject(i, err)
			continue
		}
		hits, at = append(hits, h), append(at, i)
	}
	recorded, err := a.opts.Analysis.Record(ctx, hits)
	if err != nil {
		return EventResult{}, err
	}
	for n, r := range recorded {
		i := at[n]
		switch {
		case r.Err != nil:
			reject(i, r.Err)
		case r.Duplicate:
			out.Duplicates++
			out.Results[i] = EventStatus{Index: i, Status: "duplicate", ID: idOf(r.ID)}
		default:
			out.Accepted++
			out.Results[i] = EventStatus{Index: i, Status: "accepted", ID: idOf(r.ID)}
		}
	}
	return out, nil
}

// rejection says why an item of a batch was refused, without its values.
func rejection(err error) string {
	var f *kairos.FieldError
	switch {
	case errors.As(err, &f):
		return f.Error()
	case errors.Is(err, kairos.ErrNotFound):
		return "names a person or message that doesn't exist"
	}
	return "can't be recorded"
}

// timeline is the part of the log about one person.
func (a *server) timeline() {
	handle(a, call{method: http.MethodGet, path: "/v1/contacts/{id}/timeline", id: "get-timeline", tag: "Contacts",
		summary: "Get all events about a person", about: "The newest first.", scopes: audience},
		func(ctx context.Context, in *struct {
			ByID
			Page
		}) (*listOutput[Event], error) {
			before, err := kairos.ParseCursor(in.After)
			if err != nil {
				return nil, err
			}
			if _, err := a.opts.Creation.Contact(ctx, in.ID.ID); err != nil {
				return nil, err
			}
			events, next, err := a.opts.Analysis.Timeline(ctx, in.ID.ID, before, in.Limit)
			if err != nil {
				return nil, err
			}
			return newList(events, next.String(), eventOf), nil
		})
}
