package kairos

import (
	"errors"
	"fmt"
)

// The kinds of failure that a caller can act on. Wrap them with a verb and a
// noun; the HTTP status is made from them in one place (api/errors.go).
var (
	ErrNotFound  = errors.New("not found")
	ErrConflict  = errors.New("conflict")
	ErrInvalid   = errors.New("invalid")
	ErrForbidden = errors.New("forbidden")
	// ErrPermanent marks work that no repetition can mend.
	ErrPermanent = errors.New("permanent failure")
	// ErrUnavailable marks work that may be tried again later.
	ErrUnavailable = errors.New("unavailable")
)

// FieldError says which field of the input is wrong and why. It never holds
// the value itself, so it may be logged and shown.
type FieldError struct {
	Field  string // path in the input: "schedule.at"
	Reason string // a clause that follows the field's name: "must lie in the future"
}

// Error implements error.
func (e *FieldError) Error() string { return e.Field + " " + e.Reason }

// Is makes errors.Is(err, ErrInvalid) true.
func (e *FieldError) Is(target error) bool { return target == ErrInvalid }

// Invalid returns a FieldError; reason may hold verbs of fmt for args.
func Invalid(field, reason string, args ...any) error {
	if len(args) > 0 {
		reason = fmt.Sprintf(reason, args...)
	}
	return &FieldError{Field: field, Reason: reason}
}
