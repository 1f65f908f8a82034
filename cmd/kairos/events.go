package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"kairos/analysis"
	"kairos/internal/table"
)

// eventPage is how many events are asked for at once.
const eventPage = 1000

type eventsCmd struct {
	client
	Kind         []string `help:"Only these kinds, such as notification.clicked." placeholder:"KIND"`
	Campaign     string   `help:"Only those of a campaign." placeholder:"ID"`
	Contact      string   `help:"Only those of a person." placeholder:"ID"`
	Notification string   `help:"Only those of a message." placeholder:"ID"`
	After        string   `help:"Go on behind this cursor, the last one of an earlier run." placeholder:"CURSOR"`
	Follow       bool     `short:"f" help:"Stay and print what comes, until interrupted."`
	tableForm
}

// Validate implements kong's hook.
func (c *eventsCmd) Validate() error {
	if c.Follow && c.Parquet {
		return fmt.Errorf("a Parquet file has an end: leave out --follow or --parquet")
	}
	return nil
}

// Run prints the log page by page, in its order: words, with --json a line of
// JSON each, or one table.
func (c *eventsCmd) Run(ctx context.Context, t *terminal) error {
	if c.Parquet && t.shown() {
		return errUnreadable
	}
	put, end, err := c.printer(t)
	if err != nil {
		return err
	}
	for after := c.After; ; {
		rows, err := c.page(ctx, after)
		if err == nil {
			err = put(rows)
		}
		if err == nil && len(rows) < eventPage {
			if !c.Follow {
				return end()
			}
			err = poll(ctx, time.Second)
		}
		if ctx.Err() != nil && c.Follow {
			return end()
		}
		if err != nil {
			return err
		}
		if len(rows) > 0 {
			after = rows[len(rows)-1].Cursor
		}
	}
}

// printer is how rows are printed, and what comes after the last.
func (c *eventsCmd) printer(t *terminal) (put func([]analysis.EventRow) error, end func() error, err error) {
	if form := c.form(); form != "" {
		w, err := table.NewWriter[analysis.EventRow](t.out, table.Form(form))
		if err != nil {
			return nil, nil, err
		}
		return w.Write, w.Close, nil
	}
	line := eventLine
	if t.json {
		line = func(w io.Writer, e *analysis.EventRow) error { return json.NewEncoder(w).Encode(e) }
	}
	put = func(rows []analysis.EventRow) error {
		for i := range rows {
			if err := line(t.out, &rows[i]); err != nil {
				return err
			}
		}
		return nil
	}
	return put, func() error { return nil }, nil
}

// eventLine writes an event for people.
func eventLine(w io.Writer, e *analysis.EventRow) error {
	about := ""
	for _, of := range []struct {
		name string
		id   *string
	}{{"notification", e.Notification}, {"contact", e.Contact}, {"campaign", e.Campaign}} {
		if of.id != nil {
			about = of.name + " " + *of.id
			break
		}
	}
	_, err := fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("%s  %-24s  %s  %s", e.OccurredAt.UTC().Format("2006-01-02 15:04:05.000"), e.Kind, about, e.Data), " "))
	return err
}

func (c *eventsCmd) page(ctx context.Context, after string) ([]analysis.EventRow, error) {
	query := url.Values{"limit": {fmt.Sprint(eventPage)}}
	for name, value := range map[string]string{
		"kind": strings.Join(c.Kind, ","), "campaign": c.Campaign, "contact": c.Contact, "notification": c.Notification, "after": after,
	} {
		if value != "" {
			query.Set(name, value)
		}
	}
	var page struct {
		Items []analysis.EventRow `json:"items"`
	}
	err := c.get(ctx, "/v1/events?"+query.Encode(), &page)
	return page.Items, err
}
