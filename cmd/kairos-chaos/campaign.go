package main

import (
	"bytes"
	"fmt"
	"net/http"
	"time"

	"kairos/delivery"
	"kairos/delivery/deliverytest"
	"kairos/internal/rig"
)

// html is the content of every message: three tracked links.
const html = `<!doctype html>
<html><body>
<h1>Good day, {{ contact.first_name | default: "there" }}</h1>
<p><a href="https://shop.example.com/offer">See the offer</a></p>
<p><a href="https://shop.example.com/catalogue">Leaf through the catalogue</a></p>
<p><a href="https://shop.example.com/stories">How it is grown</a></p>
<p><a href="{{ unsubscribe_url }}">Unsubscribe</a></p>
</body></html>`

// destinations are where the links lead, in their order.
var destinations = [...]string{"https://shop.example.com/offer", "https://shop.example.com/catalogue", "https://shop.example.com/stories"}

func address(i int) string { return fmt.Sprintf("p%d@town.example", i) }

// connections is how many the senders open by default.
const connections = 10

// smtp starts a counter for mail that takes each message after a moment, so
// that a campaign lasts, and a world that sends to it.
func (t *trial) smtp(delay time.Duration, env ...string) *deliverytest.SMTPSink {
	var faults []deliverytest.Fault
	t.inFlight = delivery.MaxFlight
	if delay > 0 {
		t.inFlight = delivery.InFlight(connections / delay.Seconds())
		faults = append(faults, deliverytest.Fault{At: deliverytest.AtDot, Delay: delay})
	}
	sink, err := deliverytest.NewSMTPSink(deliverytest.SinkOptions{Faults: faults, Seed: t.Seed})
	t.check(err)
	t.closing(sink.Close)
	t.world(append([]string{"KAIROS_EMAIL_PROVIDER=smtp", "KAIROS_SMTP_URL=" + sink.URL()}, env...)...)
	return sink
}

// usual starts a front, the stages and so many senders.
func (t *trial) usual(senders int) (all []*rig.Process) {
	t.serve(rolesFront)
	t.serve(rolesStage)
	for range senders {
		all = append(all, t.serve(rolesSend))
	}
	return all
}

// audience imports n people through the API.
func (t *trial) audience(n int) {
	var b bytes.Buffer
	b.WriteString("external_id,email,first_name,timezone\n")
	for i := range n {
		_, _ = fmt.Fprintf(&b, "p%d,%s,Ada,%s\n", i, address(i), []string{"Europe/Berlin", "Asia/Tokyo"}[i%2])
	}
	var imp struct {
		ID, State string
		Created   int
	}
	t.check(t.api.Do(t.ctx, http.MethodPost, "/v1/contacts/import", "text/csv", &b, &imp))
	t.until(5*time.Minute, func() string {
		t.check(t.api.Get(t.ctx, "/v1/imports/"+imp.ID, &imp))
		if imp.State == "running" {
			return "the import still runs"
		}
		return ""
	})
	if imp.Created != n {
		t.check(fmt.Errorf("import: %d of %d people: %s", imp.Created, n, imp.State))
	}
	t.res.Recipients += n
}

// campaign launches one to everybody, now, with changes over it.
func (t *trial) campaign(changes map[string]any) string {
	var m struct{ ID string }
	t.check(t.api.Post(t.ctx, "/v1/templates", map[string]any{
		"name": "Offer", "channel": "email", "subject": "{{ contact.first_name }}, your offer", "html": html,
	}, &m))
	spec := map[string]any{
		"name": "Offer", "template": m.ID, "audience": map[string]any{"all": true}, "schedule": map[string]any{"mode": "now"},
	}
	for k, v := range changes {
		spec[k] = v
	}
	t.check(t.api.Post(t.ctx, "/v1/campaigns", spec, &m))
	t.check(t.api.Post(t.ctx, "/v1/campaigns/"+m.ID+"/launch", nil, nil))
	return m.ID
}

// standing is a campaign's state with its counts.
type standing struct {
	State    string
	Progress struct{ Planned, Skipped, Sent, Accepted, Unknown, Failed, Cancelled, Pending, Total int }
}

func (t *trial) status(campaign string) (s standing) {
	t.check(t.api.Get(t.ctx, "/v1/campaigns/"+campaign, &s))
	return s
}

func (t *trial) act(campaign, action string) {
	t.check(t.api.Post(t.ctx, "/v1/campaigns/"+campaign+"/"+action, nil, nil))
}

// finished waits for a campaign's end. An API that is not there yet is waited
// for as well.
func (t *trial) finished(campaign string, within time.Duration) {
	t.until(within, func() string {
		var s standing
		if err := t.api.Get(t.ctx, "/v1/campaigns/"+campaign, &s); err != nil {
			return err.Error()
		}
		if s.State == "finished" {
			return ""
		}
		return fmt.Sprintf("the campaign is %s: %+v", s.State, s.Progress)
	})
}

// taken waits until a counter shows n messages.
func (t *trial) taken(total func() int, n int) {
	last, since := total(), time.Now()
	t.until(time.Hour, func() string {
		got := total()
		if got >= n {
			return ""
		}
		if got != last {
			last, since = got, time.Now()
		}
		if time.Since(since) > 90*time.Second {
			t.check(fmt.Errorf("nothing is sent any more after %d messages", got))
		}
		return "messages are missing"
	})
}

// settled waits until a counter has been still for a second and returns it.
func (t *trial) settled(total func() int) int {
	last, since := total(), time.Now()
	t.until(3*time.Minute, func() string {
		if n := total(); n != last {
			last, since = n, time.Now()
		}
		if time.Since(since) < time.Second {
			return "messages still come"
		}
		// A sender that wakes up tells what it has not sent: those campaigns go on.
		var late int
		err := t.pool.QueryRow(t.ctx, `
			SELECT count(*) FROM notifications n JOIN campaigns c ON c.id = n.campaign
			WHERE n.state = 'planned' AND c.state IN ('running', 'finished')`).Scan(&late)
		if err != nil {
			return err.Error()
		}
		if late > 0 {
			return fmt.Sprintf("%d people are written to late", late)
		}
		return ""
	})
	return last
}
