package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/delivery/deliverytest"
)

// The audience of TestCampaignEndToEnd, by row of the file.
const (
	crowd       = 5000
	badEmails   = 10 // no addresses
	nobodies    = 5  // neither address nor external id
	controls    = 5  // a line end in a name
	twice       = 3  // rows of people who came before
	notReaders  = 20 // every so-many-th doesn't read the newsletter
	everyOpener = 4  // of the numbers of those who got mail
	everyClick  = 8
	everyPayer  = 40
	everyLeaver = 100
)

// file is the CSV a shop would export, with what shops' exports have wrong, and
// how many good people in it read the newsletter.
func file(t *testing.T) (path string, readers int) {
	var b bytes.Buffer
	out := csv.NewWriter(&b)
	row := func(cells ...string) { require.NoError(t, out.Write(cells)) }
	row("external_id", "email", "first_name", "timezone", "newsletter")
	bad := badEmails + nobodies + controls
	for i := range crowd - twice {
		id, mail, name, news := fmt.Sprintf("p%d", i), address0(i), "Ada", "yes"
		if i%notReaders == 7 {
			news = "no"
		}
		switch wrong := i / 100; { // the first of each hundred is one of the bad
		case i%100 != 0 || wrong >= bad:
			if news == "yes" {
				readers++
			}
		case wrong < badEmails:
			mail = "not an address"
		case wrong < badEmails+nobodies:
			id, mail = "", ""
		default:
			name = "Ada\nBcc: eve@example.com"
		}
		row(id, mail, name, townZones[i%len(townZones)], news)
	}
	for i := range twice {
		row(fmt.Sprintf("p%d", i+1), address0(i+1), "Grace", "Europe/Berlin", "yes")
	}
	out.Flush()
	path = filepath.Join(t.TempDir(), "people.csv")
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o600))
	return path, readers
}

// TestCampaignEndToEnd is the main job in real processes, roles apart: a file
// of people in, mail out, people act, numbers come out, and each of them is
// exactly what the test counted itself.
func TestCampaignEndToEnd(t *testing.T) {
	w, sink := newSMTPWorld(t, deliverytest.SinkOptions{Keep: crowd})
	w.serve(rolesFront)
	w.serve(rolesStage)
	w.serve(rolesSend)

	// People in, by the command line.
	path, readers := file(t)
	var imp importState
	require.NoError(t, json.Unmarshal([]byte(w.run("contacts", "import", path, "--json")), &imp))
	bad := int64(badEmails + nobodies + controls)
	require.Equal(t, []int64{crowd, crowd - bad - twice, twice, bad}, []int64{imp.Rows, imp.Created, imp.Updated, imp.Rejected})
	require.Len(t, imp.Errors, int(bad))
	require.Equal(t, int64(1), imp.Errors[0].Row)
	for _, e := range imp.Errors {
		require.NotContains(t, e.Error, "eve@example.com", "an error repeats a value")
	}

	var segment made
	w.post("/v1/segments", map[string]any{"name": "Readers", "expression": `attributes.newsletter == "yes"`}, &segment)
	var counted struct{ Count int }
	w.get("/v1/segments/"+segment.ID+"/count", &counted)
	require.Equal(t, readers, counted.Count)

	// Mail out.
	spec := map[string]any{
		"audience":   map[string]any{"segment": segment.ID},
		"experiment": map[string]any{"holdout": 0.1},
		"goal":       map[string]any{"kind": "payment.received", "attribution_window": "168h"},
		"cost":       map[string]any{"fixed": "100.00", "per_message": "0.001", "currency": "EUR"},
		"utm":        map[string]any{"source": "kairos", "medium": "email", "campaign": "autumn"},
	}
	stream := w.hear("kind=notification.clicked", "")
	id := w.launch(spec)
	s := w.until(id, "finished", time.Minute).Progress
	require.Equal(t, readers, s.Total)
	require.Equal(t, readers, s.Planned+s.HeldOut)
	require.Equal(t, []int{s.Planned, 0, 0, 0}, []int{s.Accepted, s.Unknown, s.Failed, s.Skipped})
	require.InDelta(t, 0.1, float64(s.HeldOut)/float64(readers), 0.02) // 4 standard deviations
	got := sink.Recipients()
	require.Zero(t, sink.Duplicates())
	require.Len(t, got, s.Planned)
	people := w.addresses()
	for _, r := range w.ledger(id, "accepted") {
		require.Equal(t, 1, got[people[r.Contact]])
	}
	heldOut := w.ledger(id, "held_out")
	require.Len(t, heldOut, s.HeldOut)
	for _, r := range heldOut {
		require.Zero(t, got[people[r.Contact]], "a held out person got mail")
	}

	// People act. The truth is counted here, by hand.
	truth := map[string]int64{"planned": int64(s.Planned), "sent": int64(s.Planned), "delivered": int64(s.Planned)}
	var revenue kairos.Amount
	var leavers []string
	scanned := 0
	visitor := &person{t, visitors(), w.api.Server}
	for _, l := range letters(t, sink) {
		_, err := fmt.Sscanf(l.to, "p%d@", &l.number)
		require.NoError(t, err)
		switch {
		case l.number%everyLeaver == 3:
			visitor.unsubscribe(l.unsubscribe)
			leavers = append(leavers, l.to)
			continue
		case l.number%everyLeaver == 5: // a scanner looks at everything, and nobody comes after it
			scanned++
			for _, link := range l.links {
				visitor.click(link, agentScanner)
			}
			continue
		case l.number%everyOpener != 0:
			continue
		}
		truth["opened"]++
		visitor.fetch(l.pixel)
		if l.number%everyClick != 0 {
			continue
		}
		truth["clicked"]++
		token := visitor.click(l.links[l.number%3], agentPerson)
		truth["viewed"]++
		visitor.say(token, `{"kind":"page.viewed"}`)
		if l.number%everyPayer != 0 {
			truth["cta"]++
			visitor.say(token, `{"kind":"cta.clicked"}`)
			truth["offer_declined"]++
			visitor.say(token, `{"kind":"offer.declined"}`)
			continue
		}
		truth["offer_accepted"]++
		visitor.say(token, `{"kind":"offer.accepted"}`)
		truth["paid"]++
		sum := kairos.Amount(10_000_000 + int64(l.number)*10_000) // 10.00 and a cent for each number
		revenue += sum
		for range 2 { // a page that is loaded again: the key makes it one payment
			visitor.say(token, fmt.Sprintf(`{"kind":"payment.received","key":"order-%d","amount":"%s","currency":"EUR"}`, l.number, sum))
		}
	}
	require.Greater(t, truth["paid"], int64(50))
	require.Greater(t, len(leavers), 20)
	// Two of the held out buy all the same; the shop's till reports it, twice.
	for range 2 {
		var till []map[string]any
		for _, r := range heldOut[:2] {
			till = append(till, map[string]any{"kind": "payment.received", "contact": r.Contact, "key": "till-" + r.Contact, "amount": "20", "currency": "EUR"})
		}
		w.post("/v1/events", map[string]any{"events": till}, nil)
	}

	// Numbers out.
	var f struct {
		funnelAnswer
		Apart []struct {
			Step   string
			Unique int64
		}
	}
	funnel := func() map[string]int64 {
		f.Steps, f.Apart = nil, nil
		w.get("/v1/reports/funnel?campaign="+id, &f)
		steps := map[string]int64{}
		for _, s := range f.Steps {
			if steps[s.Step] = s.Unique; s.Unique == 0 {
				delete(steps, s.Step)
			}
		}
		return steps
	}
	var roi roiAnswer
	eventually(t, 30*time.Second, func() string {
		w.get("/v1/reports/roi?campaign="+id, &roi)
		if got := funnel(); fmt.Sprint(got) != fmt.Sprint(truth) || roi.Attributed.Revenue != revenue.String() || roi.Incremental.Conversions == nil {
			return fmt.Sprintf("funnel %v and %s instead of %v and %s", got, roi.Attributed.Revenue, truth, revenue)
		}
		return ""
	})
	apart := map[string]int64{}
	for _, a := range f.Apart {
		apart[a.Step] = a.Unique
	}
	t.Logf("funnel %v, apart %v, roi %s", truth, apart, roi.words())
	require.Equal(t, int64(len(leavers)), apart["unsubscribed"])
	require.Equal(t, int64(s.HeldOut), apart["held_out"])

	cost := kairos.Amount(100_000_000 + int64(s.Planned)*1000)
	require.Equal(t, truth["paid"], roi.Attributed.Conversions)
	require.Equal(t, cost.String(), roi.Cost.Total)
	require.InDelta(t, float64(revenue-cost)/float64(cost), *roi.ROI, 1e-9)
	ratio := float64(s.Planned) / float64(s.HeldOut)
	require.InDelta(t, float64(truth["paid"])-2*ratio, *roi.Incremental.Conversions, 0.01)
	require.InDelta(t, float64(revenue)/1e6-40*ratio, money(t, *roi.Incremental.Revenue), 0.01)
	require.Equal(t, roi.Incremental.Revenue != nil, roi.ROIIncremental != nil)
	require.Less(t, money(t, *roi.Incremental.Interval[0]), money(t, *roi.Incremental.Revenue))

	w.exported(id, truth)
	w.commandReports(id, truth, revenue)
	w.explained(w.ledger(id, "accepted")[0], heldOut[0])

	// The live stream had every click, people's and machines'.
	clicks := int(truth["clicked"]) + 3*scanned
	eventually(t, 10*time.Second, func() string {
		if n := len(stream.heard()); n < clicks {
			return fmt.Sprintf("%d of %d clicks on the stream", n, clicks)
		}
		return ""
	})
	heard := stream.heard()
	require.Len(t, heard, clicks)
	half := clicks / 2
	again := w.hear("kind=notification.clicked", heard[half-1].Cursor)
	eventually(t, 10*time.Second, func() string {
		if n := len(again.heard()); n < clicks-half {
			return fmt.Sprintf("%d of %d clicks after Last-Event-ID", n, clicks-half)
		}
		return ""
	})
	require.Equal(t, heard[half:], again.heard())

	w.second(segment.ID, sink, s.Planned, readers, leavers)
}

func money(t *testing.T, s string) float64 {
	t.Helper()
	var f float64
	_, err := fmt.Sscan(s, &f)
	require.NoError(t, err)
	return f
}

// exported asserts the CSV form of the funnel.
func (w *world) exported(id string, truth map[string]int64) {
	w.t.Helper()
	var raw bytes.Buffer
	require.NoError(w.t, w.api.get(w.t.Context(), "/v1/reports/funnel?format=csv&campaign="+id, &raw))
	rows, err := csv.NewReader(&raw).ReadAll()
	require.NoError(w.t, err)
	column := func(name string) int {
		at := slices.Index(rows[0], name)
		require.GreaterOrEqual(w.t, at, 0, name)
		return at
	}
	group, step, unique := column("group"), column("step"), column("unique")
	found := 0
	for _, r := range rows[1:] {
		if r[group] == "all" && truth[r[step]] != 0 {
			require.Equal(w.t, fmt.Sprint(truth[r[step]]), r[unique], r[step])
			found++
		}
	}
	require.Equal(w.t, len(truth), found)
}

// commandReports asserts the reports of the command line.
func (w *world) commandReports(id string, truth map[string]int64, revenue kairos.Amount) {
	w.t.Helper()
	var f funnelAnswer
	require.NoError(w.t, json.Unmarshal([]byte(w.run("report", "funnel", id, "--json")), &f))
	told := map[string]int64{}
	for _, s := range f.Steps {
		told[s.Step] = s.Unique
	}
	for step, n := range truth {
		require.Equal(w.t, n, told[step], step)
	}
	require.Contains(w.t, w.run("report", "funnel", id), "offer_accepted")
	require.Contains(w.t, w.run("report", "roi", id), revenue.String()+" EUR")
	require.Contains(w.t, w.run("report", "roi", id, "--csv"), revenue.String())
}

// explained asserts that one can ask why.
func (w *world) explained(mailed, heldOut recipient) {
	w.t.Helper()
	var why struct {
		Notification, State, Arm string
		Rules                    []struct{ Rule, Outcome string }
		Events                   []streamed
	}
	w.get("/v1/notifications/"+mailed.ID+"/explain", &why)
	require.Equal(w.t, []string{mailed.ID, "accepted"}, []string{why.Notification, why.State})
	require.NotEmpty(w.t, why.Rules)
	kinds := map[string]bool{}
	for _, e := range why.Events {
		kinds[e.Kind] = true
	}
	require.True(w.t, kinds[kairos.NotificationPlanned] && kinds[kairos.NotificationAccepted], "%v", kinds)
	w.get("/v1/notifications/"+heldOut.ID+"/explain", &why)
	require.Equal(w.t, []string{"held_out", "holdout"}, []string{why.State, why.Arm})
}

// second launches another campaign from a file on the command line: those who
// left get nothing, and are told apart.
func (w *world) second(segment string, sink *deliverytest.SMTPSink, before, readers int, leavers []string) {
	w.t.Helper()
	raw, err := json.Marshal(map[string]any{
		"name": "Second", "template": w.template(), "audience": map[string]any{"segment": segment}, "schedule": map[string]any{"mode": "now"},
	})
	require.NoError(w.t, err)
	path := filepath.Join(w.t.TempDir(), "campaign.json")
	require.NoError(w.t, os.WriteFile(path, raw, 0o600))
	var s campaignState
	require.NoError(w.t, json.Unmarshal([]byte(w.run("campaign", "launch", path, "--json")), &s))
	require.Equal(w.t, "finished", s.State)
	require.Equal(w.t, int64(readers-len(leavers)), s.Progress.Accepted)
	require.Equal(w.t, before+readers-len(leavers), sink.Total())
	skipped := w.ledger(s.ID, "skipped")
	people := w.addresses()
	var who []string
	for _, r := range skipped {
		require.Equal(w.t, string(kairos.ReasonUnsubscribed), r.Reason)
		who = append(who, people[r.Contact])
	}
	require.ElementsMatch(w.t, leavers, who)
	require.True(w.t, strings.Contains(w.run("campaign", "status", s.ID), "finished"))
	require.Error(w.t, w.api.post(w.t.Context(), "/v1/campaigns/"+s.ID+"/pause", nil, nil), "a finished campaign can't be paused")
	status, _, err := visit(w.t.Context(), http.DefaultClient, http.MethodGet, w.api.Server+"/v1/campaigns", "", "", agentPerson)
	require.NoError(w.t, err)
	require.Equal(w.t, http.StatusUnauthorized, status, "without a key")
}
