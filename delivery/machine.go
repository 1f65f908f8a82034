package delivery

import "kairos"

// trigger is what can happen to an attempt.
type trigger uint8

const (
	// The sender's own findings, also when they come late: a reply is proof.
	replyAccepted  trigger = iota // the provider took responsibility
	replyTemporary                // it refused for now
	replyPermanent                // it refused for good
	neverSent                     // no byte of the message left, or none that could be accepted
	noReply                       // the bytes left and nothing came back

	senderSilent // the reconciler: the sender's lease ran out
	evidenceSeen // an event that only an accepted message can cause
	tooOld       // unknown for longer than Options.UnknownAge, marketing only

	// A person's choices.
	operatorAccepts
	operatorAbandons
	operatorResends
)

var triggerNames = [...]string{"reply_accepted", "reply_temporary", "reply_permanent", "never_sent", "no_reply",
	"sender_silent", "evidence", "too_old", "operator_accepted", "operator_abandoned", "operator_resend"}

// String returns the trigger's stable name.
func (t trigger) String() string { return triggerNames[t] }

// moves is the state machine of an attempt: where each trigger leads from each
// state. What is not here leaves the attempt as it is. The states sending,
// unknown and accepted are live: they keep a second attempt from starting, and
// nothing but proof, age or a person leads out of them.
var moves = map[string]map[trigger]string{
	kairos.AttemptSending: {
		replyAccepted:  kairos.AttemptAccepted,
		replyTemporary: kairos.AttemptRejectedTemp,
		replyPermanent: kairos.AttemptRejectedPerm,
		neverSent:      kairos.AttemptNotSent,
		noReply:        kairos.AttemptUnknown,
		senderSilent:   kairos.AttemptUnknown,
		evidenceSeen:   kairos.AttemptAccepted,
	},
	kairos.AttemptUnknown: {
		replyAccepted:    kairos.AttemptAccepted,
		replyTemporary:   kairos.AttemptRejectedTemp,
		replyPermanent:   kairos.AttemptRejectedPerm,
		neverSent:        kairos.AttemptNotSent,
		evidenceSeen:     kairos.AttemptAccepted,
		tooOld:           kairos.AttemptAbandoned,
		operatorAccepts:  kairos.AttemptAccepted,
		operatorAbandons: kairos.AttemptAbandoned,
		operatorResends:  kairos.AttemptResendForced,
	},
}

// next returns where a trigger leads; false: nowhere.
func next(state string, t trigger) (string, bool) {
	to, ok := moves[state][t]
	return to, ok
}

// follows returns the state of a notification whose newest attempt came to
// state. An attempt that was refused for now, was never sent or is to be sent
// again by force leaves its notification planned.
func follows(state string) string {
	switch state {
	case kairos.AttemptAccepted:
		return kairos.StateAccepted
	case kairos.AttemptUnknown:
		return kairos.StateUnknown
	case kairos.AttemptRejectedPerm, kairos.AttemptAbandoned:
		return kairos.StateFailed
	}
	return kairos.StatePlanned
}

// triggerOf translates a provider's outcome.
func triggerOf(o Outcome) trigger {
	switch o {
	case Accepted:
		return replyAccepted
	case RejectedTemp:
		return replyTemporary
	case RejectedPerm:
		return replyPermanent
	case NotSent:
		return neverSent
	}
	return noReply
}
