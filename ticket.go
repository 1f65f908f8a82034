package kairos

import "time"

// Ticket is the context that a request hands on to everything it causes: where
// it came from, what for, how its data is classified. It is stored once and
// referred to by each event. The names map onto CloudEvents 1.0 (Origin =
// source, CausationID = an extension) and W3C Trace Context (TraceParent).
type Ticket struct {
	ID             ID        `json:"id"`
	Origin         string    `json:"origin"`
	Purpose        string    `json:"purpose,omitempty"`
	Classification []string  `json:"classification,omitempty"` // pii, gdpr, pci, ...
	LegalBasis     string    `json:"legal_basis,omitempty"`
	TraceParent    string    `json:"traceparent,omitempty"`
	CausationID    ID        `json:"causation_id,omitzero"`
	Actor          string    `json:"actor,omitempty"` // api key id, person or "system"
	CreatedAt      time.Time `json:"created_at"`
}
