package dashboard

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"

	"kairos"
	"kairos/analysis"
)

// count writes 12345 as "12,345".
func count(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "−", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// share writes a rate of 0.1234 as "12.3%", and "–" where there is none.
func share(r *float64) string {
	if r == nil {
		return "–"
	}
	return strconv.FormatFloat(*r*100, 'f', 1, 64) + "%"
}

// portion is a share of a whole for a bar: a percentage for SVG.
func portion(part, whole float64) string {
	if whole <= 0 || part <= 0 {
		return "0%"
	}
	return strconv.FormatFloat(min(100, part/whole*100), 'f', 2, 64) + "%"
}

// money writes an amount with its currency: "1,234.50 EUR"; small ones in full.
func money(a kairos.Amount, currency string) string {
	if a >= kairos.AmountOf(1) || a <= kairos.AmountOf(-1) {
		a = kairos.AmountOf(math.Round(a.Float()*100) / 100)
	}
	s := a.String()
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "−", s[1:]
	}
	whole, frac, _ := strings.Cut(s, ".")
	n, err := strconv.ParseInt(whole, 10, 64)
	if err == nil {
		whole = count(n)
	}
	return sign + whole + "." + frac + " " + currency
}

// span writes a duration in days where they are whole.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d == day:
		return "a day"
	case d > 0 && d%day == 0:
		return count(int64(d/day)) + " days"
	}
	return kairos.Duration(d).String()
}

// moment writes a time for people; machine for the datetime attribute.
func moment(t time.Time) string { return t.UTC().Format("2 Jan 2006, 15:04") + " UTC" }

func second(t time.Time) string { return t.UTC().Format("2 Jan 15:04:05") }

func machine(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// phrase is a stored name in words, with the tone its chip has.
type phrase struct {
	word string
	tone string // good, busy, wait, bad, odd, calm
	why  string // one sentence, may be empty
}

var campaignStates = map[string]phrase{
	kairos.Draft:     {"Draft", "calm", "Not launched yet."},
	kairos.Scheduled: {"Scheduled", "wait", "Launched; its first moment lies ahead."},
	kairos.Running:   {"Running", "busy", "Messages go out as their moments come."},
	kairos.Paused:    {"Paused", "wait", "Nothing more is sent until it is resumed."},
	kairos.Cancelled: {"Cancelled", "calm", "What had not been sent never will be."},
	kairos.Finished:  {"Finished", "good", "Everybody who is to be written to has been."},
	kairos.Failed:    {"Failed", "bad", "It could not go on."},
}

// stateOrder is the order of the filters.
var stateOrder = []string{kairos.Draft, kairos.Scheduled, kairos.Running, kairos.Paused, kairos.Finished, kairos.Cancelled, kairos.Failed}

var notificationStates = map[string]phrase{
	kairos.StatePlanned:   {"Planned", "wait", "Waits for its moment."},
	kairos.StateAccepted:  {"Accepted", "good", "The provider took responsibility for the message."},
	kairos.StateUnknown:   {"Unknown", "odd", "It left, and no answer came: it may have arrived. It is not sent again unless there is evidence that it did not."},
	kairos.StateFailed:    {"Failed", "bad", "Refused for good, or it never could be sent."},
	kairos.StateSkipped:   {"Skipped", "calm", "A rule kept it from being sent."},
	kairos.StateCancelled: {"Cancelled", "calm", "The campaign was cancelled before its moment."},
	kairos.StateHeldOut:   {"Held out", "calm", "Not written to on purpose: the comparison for the incremental return."},
}

// ledgerOrder is the order of the ledger's filters.
var ledgerOrder = []string{kairos.StatePlanned, kairos.StateAccepted, kairos.StateUnknown, kairos.StateFailed,
	kairos.StateSkipped, kairos.StateHeldOut, kairos.StateCancelled}

var attemptStates = map[string]phrase{
	kairos.AttemptSending:      {"Sending", "busy", "On its way to the provider."},
	kairos.AttemptAccepted:     {"Accepted", "good", "The provider took responsibility."},
	kairos.AttemptRejectedTemp: {"Refused for now", "wait", "Tried again later."},
	kairos.AttemptRejectedPerm: {"Refused", "bad", "Refused for good."},
	kairos.AttemptNotSent:      {"Not sent", "calm", "It is certain that nothing left."},
	kairos.AttemptUnknown:      {"Unknown", "odd", "It left, and no answer came."},
	kairos.AttemptAbandoned:    {"Abandoned", "calm", "Unknown for too long, or given up by a person."},
	kairos.AttemptResendForced: {"Sent again", "odd", "A person decided to send it again."},
}

func phraseOf(m map[string]phrase, name string) phrase {
	if p, ok := m[name]; ok {
		return p
	}
	return phrase{name, "calm", ""}
}

var reasonWords = map[kairos.Reason]string{
	kairos.ReasonNoAddress:    "no address for the channel",
	kairos.ReasonSuppressed:   "suppressed: bounced, complained, or by hand",
	kairos.ReasonUnsubscribed: "unsubscribed",
	kairos.ReasonNoConsent:    "their preferences refuse the channel",
	kairos.ReasonTopicRefused: "their preferences refuse the topic",
	kairos.ReasonErased:       "personal data was erased",
	kairos.ReasonQuietHours:   "quiet hours cover the whole window",
	kairos.ReasonMissed:       "the moment passed by more than the window",
	kairos.ReasonLatest:       "the campaign's latest time came first",
	kairos.ReasonUnknownZone:  "unknown time zone, the default was used",
	kairos.ReasonCancelled:    "the campaign was cancelled",
	kairos.ReasonRenderFailed: "the template fails for this person",
	kairos.ReasonRejected:     "the provider refused for good",
	kairos.ReasonTooManyTries: "refused for now too often",
	kairos.ReasonAbandoned:    "unknown for too long without evidence",
	kairos.ReasonBadAddress:   "the address can't be written to",
	kairos.ReasonNoContact:    "the contact was deleted before planning",
}

func reasonWord(r kairos.Reason) string {
	if w, ok := reasonWords[r]; ok {
		return w
	}
	return string(r)
}

var armWords = map[kairos.Arm]string{
	kairos.ArmHoldout: "Held out", kairos.ArmControl: "Control", kairos.ArmExplore: "Explore",
	kairos.ArmOptimised: "Optimised", kairos.ArmPreferred: "Preferred hours", kairos.ArmAll: "Everybody",
}

func armWord(a kairos.Arm) string {
	if w, ok := armWords[a]; ok {
		return w
	}
	return string(a)
}

// armOrder is the order of the arms in tables.
var armOrder = []kairos.Arm{kairos.ArmAll, kairos.ArmOptimised, kairos.ArmControl, kairos.ArmExplore, kairos.ArmPreferred, kairos.ArmHoldout}

var stepWords = map[string]string{
	analysis.StepPlanned: "Planned", analysis.StepSent: "Sent", analysis.StepDelivered: "Delivered",
	analysis.StepOpened: "Opened", analysis.StepClicked: "Clicked", analysis.StepViewed: "Viewed the page",
	analysis.StepCTA: "Used its button", analysis.StepOfferAccepted: "Accepted the offer",
	analysis.StepOfferDeclined: "Declined the offer", analysis.StepPaid: "Paid",
	analysis.StepHeldOut: "Held out", analysis.StepSkipped: "Skipped", analysis.StepBounced: "Bounced",
	analysis.StepComplained: "Complained", analysis.StepUnsubscribed: "Unsubscribed",
	analysis.StepMachineOpened: "Opened by machines", analysis.StepMachineClicked: "Clicked by machines",
}

func stepWord(s string) string {
	if w, ok := stepWords[s]; ok {
		return w
	}
	return s
}

// scheduleWords says when a campaign's messages go out.
func scheduleWords(s kairos.Schedule) string {
	switch s.Mode {
	case kairos.ModeNow:
		return "at once"
	case kairos.ModeAt:
		if s.At != nil {
			return moment(*s.At)
		}
	case kairos.ModeLocal:
		if s.At != nil {
			return s.LocalTime.String() + " local time, from " + s.At.UTC().Format("2 Jan")
		}
		return s.LocalTime.String() + " local time"
	case kairos.ModeOptimised:
		if s.Window > 0 {
			return "best hour within " + span(time.Duration(s.Window))
		}
		return "best hour"
	}
	return s.Mode
}

var eventWords = map[string]string{
	kairos.CampaignLaunched: "Launched", kairos.CampaignPaused: "Paused", kairos.CampaignResumed: "Resumed",
	kairos.CampaignCancelled: "Cancelled", kairos.CampaignFinished: "Finished", kairos.CampaignReopened: "Reopened",
	kairos.NotificationPlanned: "Planned", kairos.NotificationSkipped: "Skipped", kairos.NotificationHeldOut: "Held out",
	kairos.NotificationSent: "Sent", kairos.NotificationAccepted: "Accepted by the provider", kairos.NotificationRejected: "Refused by the provider",
	kairos.NotificationUnknown: "No answer from the provider", kairos.NotificationDeferred: "Deferred by the provider",
	kairos.NotificationDelivered: "Delivered", kairos.NotificationBounced: "Bounced", kairos.NotificationDropped: "Dropped by the provider",
	kairos.NotificationOpened: "Opened", kairos.NotificationClicked: "Clicked a link", kairos.NotificationComplained: "Reported as spam",
	kairos.PageViewed: "Viewed the page", kairos.CTAClicked: "Used the page's button", kairos.OfferAccepted: "Accepted the offer",
	kairos.OfferDeclined: "Declined the offer", kairos.PaymentReceived: "Paid",
	kairos.ContactUnsubscribed: "Unsubscribed", kairos.ContactResubscribed: "Subscribed again",
	kairos.ContactPreferred: "Stated preferences", kairos.ContactErased: "Personal data erased",
}

func eventWord(kind string) string {
	if w, ok := eventWords[kind]; ok {
		return w
	}
	return kind
}

// eventDetail is what an event's data adds, in a few words.
func eventDetail(e kairos.Event) string {
	var data struct {
		Amount   json.RawMessage `json:"amount"`
		Currency string          `json:"currency"`
		URL      string          `json:"url"`
		Machine  string          `json:"machine"`
		Reason   kairos.Reason   `json:"reason"`
		Class    string          `json:"class"`
		Code     json.RawMessage `json:"code"`
	}
	if len(e.Data) == 0 || json.Unmarshal(e.Data, &data) != nil {
		return ""
	}
	var parts []string
	var amount kairos.Amount
	if e.Kind == kairos.PaymentReceived && amount.UnmarshalJSON(data.Amount) == nil {
		parts = append(parts, money(amount, data.Currency))
	}
	if data.URL != "" {
		parts = append(parts, clip(data.URL, 80))
	}
	if data.Reason != "" {
		parts = append(parts, reasonWord(data.Reason))
	}
	if data.Class != "" {
		parts = append(parts, clip(data.Class, 40))
	}
	if code := strings.Trim(string(data.Code), `"`); code != "" && code != "null" {
		parts = append(parts, "code "+clip(code, 20))
	}
	if data.Machine != "" {
		parts = append(parts, "by a machine ("+clip(data.Machine, 40)+")")
	}
	return strings.Join(parts, " · ")
}

// clip shortens a text to n characters.
func clip(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:n-1]) + "…"
}

// short is the end of an id: it differs where the time-ordered front is alike.
func short(id kairos.ID) string {
	s := id.String()
	return "…" + s[len(s)-8:]
}
