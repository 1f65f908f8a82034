package kairos

import (
	"strconv"
	"strings"
)

// Channel is a way to reach a person.
type Channel string

// Channels.
const (
	Email Channel = "email"
)

// Notification states as stored. What lies between planned and its outcome is
// told by the batch (queued, running) and by the attempt (sending):
//
//	           +-> skipped, held_out                    (decided: not written to)
//	decide ----+
//	           +-> planned --attempt--> accepted         (final)
//	                 ^  |       |-----> failed           (final: refused for good, or never could be)
//	                 |  |       |-----> unknown --evidence--> accepted | planned | failed(abandoned)
//	                 +--|-------+       (refused for now: back, not before retry_at)
//	                    +-> cancelled                    (final: campaign cancelled)
//	                    +-> skipped                      (final: a rule changed before the attempt)
const (
	StatePlanned   = "planned"
	StateAccepted  = "accepted"
	StateUnknown   = "unknown"
	StateFailed    = "failed"
	StateSkipped   = "skipped"
	StateCancelled = "cancelled"
	StateHeldOut   = "held_out"
)

// Attempt states; see sending in docs/concepts.md.
const (
	AttemptSending      = "sending"
	AttemptAccepted     = "accepted"
	AttemptRejectedTemp = "rejected_temp"
	AttemptRejectedPerm = "rejected_perm"
	AttemptNotSent      = "not_sent"
	AttemptUnknown      = "unknown"
	AttemptAbandoned    = "abandoned"
	AttemptResendForced = "resend_forced"
)

// Arm is the group of the campaign's experiment a person was drawn into.
type Arm string

// Arms.
const (
	ArmHoldout   Arm = "holdout"   // not written to: the comparison for incremental return
	ArmControl   Arm = "control"   // the baseline time
	ArmExplore   Arm = "explore"   // a uniformly drawn slot, propensity logged
	ArmOptimised Arm = "optimised" // the model's slot, or its documented fallback
	ArmPreferred Arm = "preferred" // inside the hours the person asked for
	ArmAll       Arm = "all"       // the schedule has one moment for everybody: no timing experiment
)

// Reason names why a notification was skipped, failed or fell back. Stable
// names: reports and explain show them.
type Reason string

// Reasons of a skip.
const (
	ReasonNoAddress    Reason = "no_address"      // the contact has none for the channel
	ReasonSuppressed   Reason = "suppressed"      // bounced, complained or suppressed by hand
	ReasonUnsubscribed Reason = "unsubscribed"    // from marketing by this channel
	ReasonNoConsent    Reason = "no_consent"      // the person's preferences refuse the channel
	ReasonTopicRefused Reason = "topic_refused"   // the person's preferences refuse the topic
	ReasonErased       Reason = "erased"          // personal data was removed
	ReasonQuietHours   Reason = "quiet_hours"     // they cover the whole window
	ReasonMissed       Reason = "missed_window"   // its moment passed by more than the window
	ReasonLatest       Reason = "past_latest"     // the campaign's latest time came first
	ReasonUnknownZone  Reason = "unknown_zone"    // stored zone is no IANA name; the default zone was used
	ReasonCancelled    Reason = "cancelled"       // the campaign was cancelled
	ReasonRenderFailed Reason = "render_failed"   // the template fails for this person
	ReasonRejected     Reason = "rejected"        // the provider refused for good
	ReasonTooManyTries Reason = "too_many_tries"  // refused for now too often
	ReasonAbandoned    Reason = "abandoned"       // unknown for 72 h without evidence
	ReasonBadAddress   Reason = "invalid_address" // cannot be written to at all
	ReasonNoContact    Reason = "contact_missing" // deleted between expansion and planning
)

// AttemptRef names one attempt: the notification and the number of the try.
// Its text form travels to the provider and comes back in its events.
type AttemptRef struct {
	Notification ID
	Number       int32
}

// String returns "<notification>.<number>".
func (r AttemptRef) String() string {
	return r.Notification.String() + "." + strconv.Itoa(int(r.Number))
}

// ParseAttemptRef reads the form of String.
func ParseAttemptRef(s string) (AttemptRef, error) {
	id, num, ok := strings.Cut(s, ".")
	n, err := strconv.ParseInt(num, 10, 32)
	if !ok || err != nil || n < 1 {
		return AttemptRef{}, Invalid("attempt", "is not an attempt reference")
	}
	nid, err := ParseID(id)
	if err != nil {
		return AttemptRef{}, err
	}
	return AttemptRef{Notification: nid, Number: int32(n)}, nil
}
