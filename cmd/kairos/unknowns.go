package main

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"text/tabwriter"
	"time"
)

type unknownsCmd struct {
	List    unknownsListCmd    `cmd:"" default:"withargs" help:"List the attempts whose fate is open."`
	Resolve unknownsResolveCmd `cmd:"" help:"Decide about one of them; who and why is logged."`
}

// unknownAttempt is one line of GET /v1/unknowns.
type unknownAttempt struct {
	Attempt      string    `json:"attempt"`
	Notification string    `json:"notification"`
	Campaign     string    `json:"campaign"`
	Contact      string    `json:"contact"`
	Purpose      string    `json:"purpose"`
	Provider     string    `json:"provider"`
	StartedAt    time.Time `json:"started_at"`
	Code         string    `json:"code,omitempty"`
	Detail       string    `json:"detail,omitempty"`
}

type unknownsListCmd struct {
	client
	Campaign string `help:"Only those of a campaign." placeholder:"ID"`
	Limit    int    `help:"How many at most; 0: all." default:"0"`
}

// Run prints them page by page, as they come.
func (c *unknownsListCmd) Run(ctx context.Context, t *terminal) error {
	if c.Limit < 0 {
		return fmt.Errorf("--limit must not be negative")
	}
	tw := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	n, after := 0, ""
	for {
		size := 500
		if c.Limit > 0 {
			size = min(size, c.Limit-n)
		}
		query := url.Values{"limit": {strconv.Itoa(size)}}
		for name, value := range map[string]string{"campaign": c.Campaign, "after": after} {
			if value != "" {
				query.Set(name, value)
			}
		}
		var page struct {
			Items []unknownAttempt `json:"items"`
			Next  *string          `json:"next"`
		}
		if err := c.get(ctx, "/v1/unknowns?"+query.Encode(), &page); err != nil {
			return err
		}
		for _, u := range page.Items {
			if t.json {
				if err := t.print(u, ""); err != nil {
					return err
				}
				continue
			}
			if n == 0 {
				_, _ = fmt.Fprintln(tw, "ATTEMPT\tSINCE\tPROVIDER\tPURPOSE\tCAMPAIGN\tWHAT IS KNOWN") // Flush tells
			}
			_, _ = fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\n", u.Attempt, u.StartedAt.Format(time.RFC3339), u.Provider, u.Purpose, u.Campaign, joined(u.Code, u.Detail))
			n++
		}
		if t.json {
			n += len(page.Items)
		}
		if page.Next == nil || *page.Next == "" || c.Limit > 0 && n >= c.Limit {
			break
		}
		after = *page.Next
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	if n == 0 {
		t.say("there are no unknown attempts")
	}
	return nil
}

func joined(code, detail string) string {
	if code != "" && detail != "" {
		return code + " " + detail
	}
	return code + detail
}

// choices of an operator, and their names in the API.
var choices = map[string]string{"accepted": "accepted", "not_sent": "resend_forced", "abandoned": "abandoned", "resend": "resend_forced"}

type unknownsResolveCmd struct {
	client
	Attempt string `arg:"" help:"Its name in the list: NOTIFICATION.NUMBER."`
	Choice  string `required:"" enum:"accepted,not_sent,abandoned,resend" help:"accepted: it did leave. not_sent: it certainly did not, send it. resend: send it again, the person may get it twice. abandoned: count it as failed." placeholder:"CHOICE"`
	By      string `help:"Who decides. Default: the name of the API key."`
	Reason  string `help:"Why; needed to send a marketing message (again)."`
}

// Run decides. That nothing left (not_sent) is for the ledger a sending by a
// person's word, like resend: no proof of the provider's. The reason says so.
func (c *unknownsResolveCmd) Run(ctx context.Context, t *terminal) error {
	body := map[string]string{"choice": choices[c.Choice]}
	if c.By != "" {
		body["actor"] = c.By
	}
	reason := c.Reason
	if c.Choice == "not_sent" && reason != "" {
		reason = "not sent: " + reason
	}
	if reason != "" {
		body["reason"] = reason
	}
	var n struct {
		ID    string `json:"id"`
		State string `json:"state"`
	}
	if err := c.post(ctx, "/v1/unknowns/"+url.PathEscape(c.Attempt)+"/resolve", body, &n); err != nil {
		return err
	}
	return t.print(map[string]string{"attempt": c.Attempt, "choice": body["choice"], "notification": n.ID, "state": n.State},
		fmt.Sprintf("%s: %s; the notification is %s", c.Attempt, c.Choice, n.State))
}
