package kairos

import (
	"encoding/json"
	"time"
)

// Event is one fact of the append-only log. Subject, Kind and Key make it
// unique on its day: the same fact recorded twice is one fact.
type Event struct {
	ID           ID              `json:"id"`
	Kind         string          `json:"kind"`
	Version      int16           `json:"version"`
	Subject      ID              `json:"-"` // zero: the notification, else the contact, else the campaign
	Key          string          `json:"key,omitempty"`
	OccurredAt   time.Time       `json:"occurred_at"`
	RecordedAt   time.Time       `json:"recorded_at,omitzero"`
	Campaign     ID              `json:"campaign,omitzero"`
	Contact      ID              `json:"contact,omitzero"`
	Notification ID              `json:"notification,omitzero"`
	Ticket       ID              `json:"ticket,omitzero"`
	Data         json.RawMessage `json:"data,omitempty"` // a JSON object or nothing
	Cursor       Cursor          `json:"cursor,omitzero"`
}

// About returns what the event is about: Subject, or what stands in for it.
func (e *Event) About() ID {
	for _, id := range []ID{e.Subject, e.Notification, e.Contact, e.Campaign} {
		if !id.IsZero() {
			return id
		}
	}
	return e.ID
}

// Kinds of events. Each is a fact, in the past tense. Readers pass unknown
// kinds through unharmed.
const (
	// CampaignLaunched: a marketer launched the campaign; its content and audience are fixed from here.
	CampaignLaunched = "campaign.launched"
	// CampaignPaused: nothing more is claimed until it is resumed.
	CampaignPaused = "campaign.paused"
	// CampaignResumed: a paused campaign goes on.
	CampaignResumed = "campaign.resumed"
	// CampaignCancelled: what had not been sent never will be.
	CampaignCancelled = "campaign.cancelled"
	// CampaignFinished: every recipient is in a final or an unknown state.
	CampaignFinished = "campaign.finished"
	// CampaignReopened: an attempt of a finished campaign turned out not to have been sent; it is sent now.
	CampaignReopened = "campaign.reopened"

	// NotificationPlanned: a person, a channel, an arm and a moment were chosen; where a timing
	// model or stated hours had a say, data holds model, rank, asked, outside and fallback.
	NotificationPlanned = "notification.planned"
	// NotificationSkipped: the person is not written to; data.reason says why.
	NotificationSkipped = "notification.skipped"
	// NotificationHeldOut: the person belongs to the campaign's holdout and is not written to.
	NotificationHeldOut = "notification.held_out"
	// NotificationSent: an attempt's bytes left for the provider.
	NotificationSent = "notification.sent"
	// NotificationAccepted: the provider took responsibility for the message.
	NotificationAccepted = "notification.accepted"
	// NotificationRejected: the provider refused for good; data.code says how.
	NotificationRejected = "notification.rejected"
	// NotificationUnknown: an attempt fell silent after its bytes had left.
	NotificationUnknown = "notification.unknown"
	// NotificationResolved: an unknown attempt was settled by a person or by its age;
	// data.choice is its state since, data.actor and data.reason say by whom and why.
	NotificationResolved = "notification.resolved"
	// NotificationDeferred: the provider reports that it is still trying.
	NotificationDeferred = "notification.deferred"
	// NotificationDelivered: the provider reports that the receiving server took it.
	NotificationDelivered = "notification.delivered"
	// NotificationBounced: the receiving server refused it; data.class is hard or soft.
	NotificationBounced = "notification.bounced"
	// NotificationDropped: the provider accepted it and then decided not to send.
	NotificationDropped = "notification.dropped"
	// NotificationOpened: the pixel was fetched; data.machine names why a machine did it.
	NotificationOpened = "notification.opened"
	// NotificationClicked: a tracked link was followed; data.link, data.url, data.machine.
	NotificationClicked = "notification.clicked"
	// NotificationComplained: the person reported the message as spam.
	NotificationComplained = "notification.complained"

	// ProviderProcessed: the provider says that it took the message over.
	ProviderProcessed = "provider.processed"
	// ProviderOpened: the provider's own pixel was fetched: evidence that the message left, never an open.
	ProviderOpened = "provider.opened"
	// ProviderClicked: the provider's own link was followed: evidence, never a click.
	ProviderClicked = "provider.clicked"

	// PageViewed: a landing page with the snippet was seen.
	PageViewed = "page.viewed"
	// CTAClicked: the page's call to action was used.
	CTAClicked = "cta.clicked"
	// OfferAccepted: the person said yes.
	OfferAccepted = "offer.accepted"
	// OfferDeclined: the person said no.
	OfferDeclined = "offer.declined"
	// PaymentReceived: money came in; data.amount (decimal string), data.currency (ISO 4217).
	PaymentReceived = "payment.received"

	// ContactUnsubscribed: the person wants no more marketing by this channel.
	ContactUnsubscribed = "contact.unsubscribed"
	// ContactResubscribed: the person took an unsubscription back.
	ContactResubscribed = "contact.resubscribed"
	// ContactPreferred: the person stated preferences; data holds them.
	ContactPreferred = "contact.preferred"
	// ContactErased: the person's data was removed; the row stays for the counts.
	ContactErased = "contact.erased"
	// ModelTrained: a timing model was fitted; data.version, data.verdict, data.reason.
	ModelTrained = "model.trained"
	// ModelFailed: a training run failed; the active model, if any, stays.
	ModelFailed = "model.failed"
	// ModelOnTrial: a candidate receives a share of the traffic.
	ModelOnTrial = "model.canary_started"
	// ModelJudged: the trial has its result; data.pass, data.reason.
	ModelJudged = "model.canary_judged"
	// ModelPromoted: a person made a model the one that plans; data.actor, data.reason.
	ModelPromoted = "model.promoted"
	// ModelRejected: a model will not be used; data.actor, data.reason.
	ModelRejected = "model.rejected"
	// ModelRolledBack: a person took the active model out of service; data.actor, data.reason, data.to.
	ModelRolledBack = "model.rolled_back"
	// ModelDrifted: the active model no longer does what it did when it was promoted: an alarm.
	ModelDrifted = "model.drifted"

	// ImportFinished: an import of contacts ended; data holds its counts.
	ImportFinished = "import.finished"
)

// Cursor is a place in the log: rows are read in the order of (xid, position),
// never past the oldest transaction that is still open.
type Cursor struct {
	XID      uint64
	Position int64
}
