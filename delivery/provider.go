package delivery

import (
	"context"
	"time"

	"kairos"
	"kairos/internal/content"
)

// Provider hands messages to the outside world. There is one folder for each
// below delivery, and one conformance suite for all in deliverytest.
type Provider interface {
	// Name is stable: "smtp", "sendgrid", "inbox". It stands in the ledger.
	Name() string
	// Channel is what the provider delivers.
	Channel() kairos.Channel
	// Limits says how the provider wants to be called.
	Limits() Limits
	// Send hands messages over, once, without any retry, and returns one
	// result for each message in the same order. It never returns early with
	// fewer; when ctx ends, messages whose bytes had not left are NotSent and
	// those whose fate is open are Unknown. len(msgs) <= Limits().Batch, or
	// Limits().Chain where that is more: then they go out one after another,
	// and none begins after MayBegin(ctx) has become false.
	// Safe for Limits().Concurrency concurrent calls.
	Send(ctx context.Context, msgs []*Message) []Result
	// Close ends idle connections.
	Close() error
}

// Limits of a provider.
type Limits struct {
	Batch       int           // recipients in one call: 1 for SMTP, 1000 for SendGrid
	Chain       int           // messages that one call may carry one after another, each with a fate of its own, where Batch is 1; 0: 1
	Concurrency int           // calls at once
	Timeout     time.Duration // of one call
	Rate        float64       // messages per second; 0: unlimited
}

// Message is one rendered message for one person.
type Message struct {
	Ref      kairos.AttemptRef
	Campaign kairos.ID
	Contact  kairos.ID
	Ticket   kairos.ID
	Purpose  string // marketing, transactional, ...

	From, ReplyTo Address
	To            Address
	MessageID     string // without angle brackets; the same for every attempt of a notification
	Unsubscribe   string // https URL for List-Unsubscribe (RFC 8058); "" for transactional ones
	ReturnPath    string // envelope sender; "" means From. Holds the attempt, so a DSN finds it

	Content  *content.Content // shared by all messages of a template version
	Rendered content.Rendered // what differs for this person
	Date     time.Time
}

// Address is a mailbox that net/mail has accepted.
type Address struct {
	Name  string
	Email string // local@domain
}

// Outcome says where a message stands after a call.
type Outcome uint8

// Outcomes. The phase of a failure decides: nothing that may have been
// accepted is ever called not sent.
const (
	// Unknown: the bytes left and no answer came. The zero value, so that a
	// forgotten result is never a lie.
	Unknown Outcome = iota
	// Accepted: the provider took responsibility.
	Accepted
	// RejectedTemp: refused for now; the message may be tried again.
	RejectedTemp
	// RejectedPerm: refused for good.
	RejectedPerm
	// NotSent: it never reached the provider (connection refused, cancelled
	// before the body, 429); try again without counting against the address.
	NotSent
)

// Result is what became of one message.
type Result struct {
	Outcome    Outcome
	ProviderID string        // the provider's name for the message
	Code       string        // "550 5.1.1", "429"; "" when there was no reply
	Detail     string        // short, never with an address or a secret
	BadAddress bool          // RejectedPerm because the mailbox does not exist: a hard bounce
	RetryAfter time.Duration // what the provider asked for; 0: none
	NotBegun   bool          // NotSent because its turn in a chain never came; it stays in its batch
}

type mayBeginKey struct{}

// MayBegin reports whether a provider that was given a chain of messages may
// begin the next one: neither a stop, nor the loss of the batch, nor trouble
// that another call ran into speaks against it.
func MayBegin(ctx context.Context) bool {
	may, ok := ctx.Value(mayBeginKey{}).(func() bool)
	return !ok || may()
}

// WithMayBegin gives a provider's call the answer of MayBegin.
func WithMayBegin(ctx context.Context, may func() bool) context.Context {
	return context.WithValue(ctx, mayBeginKey{}, may)
}
