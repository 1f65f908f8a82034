package creation

import (
	"encoding/json"
	"strings"
	"time"

	"kairos"
)

// Contact is a person.
type Contact struct {
	ID          kairos.ID          `json:"id"`
	ExternalID  string             `json:"external_id,omitempty"`
	Email       string             `json:"email,omitempty"`
	Phone       string             `json:"phone,omitempty"`
	FirstName   string             `json:"first_name,omitempty"`
	LastName    string             `json:"last_name,omitempty"`
	Locale      string             `json:"locale,omitempty"`
	Timezone    string             `json:"timezone,omitempty"` // IANA name; "": the installation's default zone
	Region      string             `json:"region,omitempty"`
	Attributes  json.RawMessage    `json:"attributes"` // a JSON object
	Preferences kairos.Preferences `json:"preferences"`
	CreatedAt   time.Time          `json:"created_at"`
	UpdatedAt   time.Time          `json:"updated_at"`
	ErasedAt    *time.Time         `json:"erased_at,omitempty"` // personal data was removed
}

// ContactInput is what an upsert says about a person. The person is found by
// ExternalID, else by Email; an empty field leaves what is stored; attributes
// are merged, one that is null is removed. Errors name the JSON field.
type ContactInput struct {
	ExternalID string          `json:"external_id,omitempty"` // at most 200 bytes
	Email      string          `json:"email,omitempty"`       // a bare address, at most 254 bytes
	Phone      string          `json:"phone,omitempty"`
	FirstName  string          `json:"first_name,omitempty"`
	LastName   string          `json:"last_name,omitempty"`
	Locale     string          `json:"locale,omitempty"`
	Timezone   string          `json:"timezone,omitempty"` // IANA name
	Region     string          `json:"region,omitempty"`
	Attributes json.RawMessage `json:"attributes,omitempty"` // a JSON object, at most 64 KiB
}

// BatchResult counts what a batch did. Created + Updated + len(Rejected) is the
// number of inputs; Updated counts every input that met a known person, also
// where it changed nothing.
type BatchResult struct {
	Created  int64       `json:"created"`
	Updated  int64       `json:"updated"`
	Rejected []Rejection `json:"rejected"`
}

// Rejection names an input of a batch that was refused, and why. The reason
// never holds a value.
type Rejection struct {
	Index int    `json:"index"`
	Error string `json:"error"`
}

// Columns of a contact that hold one text each, in the order of person.fields.
const (
	fieldExternalID = iota
	fieldEmail
	fieldPhone
	fieldFirstName
	fieldLastName
	fieldLocale
	fieldTimezone
	fieldRegion
	fieldCount
)

var fieldNames = [fieldCount]string{"external_id", "email", "phone", "first_name", "last_name", "locale", "timezone", "region"}

// row is one person as an input tells it: checked, "" is absent.
type row struct {
	fields     [fieldCount]string
	emailKey   string   // lower case of the address
	attributes string   // JSON object of what is set; "": nothing
	drop       []string // attributes to remove
}

// checkRow normalises the row's fields and names the first that makes no sense.
func (c *Creation) checkRow(r *row) error {
	for i := range r.fields {
		if r.fields[i] == "" {
			continue
		}
		if err := c.checkField(i, r.fields[i]); err != nil {
			return err
		}
	}
	if r.fields[fieldEmail] == "" && r.fields[fieldExternalID] == "" {
		return kairos.Invalid("email", "or external_id must be given")
	}
	r.emailKey = strings.ToLower(r.fields[fieldEmail])
	return nil
}

func rowOf(in ContactInput) (row, error) {
	r := row{fields: [fieldCount]string{in.ExternalID, in.Email, in.Phone, in.FirstName, in.LastName, in.Locale, in.Timezone, in.Region}}
	for i := range r.fields {
		r.fields[i] = strings.TrimSpace(r.fields[i])
	}
	var err error
	r.attributes, r.drop, err = splitAttributes(in.Attributes)
	return r, err
}
