package kairos

// Hit is what a collector writes to its spool before it answers: an event as
// far as the collector can know it without a database. The shipper fills in
// the rest and moves it into the log.
type Hit struct {
	Event      Event  `json:"event"`
	Keyed      bool   `json:"keyed,omitempty"`       // Event.Key was chosen by the client: unique for ever
	ExternalID string `json:"external_id,omitempty"` // names the contact where no token does
}
