package track

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"kairos"
)

// nothing is the whole answer to every token that is not ours.
const nothing = `{"detail":"There is nothing here.","status":404,"title":"Not Found","type":"about:blank"}`

// notFound tells nothing: the same bytes for every token that is not ours.
func notFound(w http.ResponseWriter) {
	problemHeaders(w.Header())
	w.WriteHeader(http.StatusNotFound)
	_, _ = w.Write([]byte(nothing))
}

func notAllowed(w http.ResponseWriter, methods ...string) {
	w.Header().Set("Allow", strings.Join(methods, ", "))
	problem(w, http.StatusMethodNotAllowed, "This address does not take that method.")
}

func tooLarge(w http.ResponseWriter, limit string) {
	problem(w, http.StatusRequestEntityTooLarge, "The body has more than "+limit+".")
}

func unavailable(w http.ResponseWriter, detail string) {
	w.Header().Set("Retry-After", "5")
	problem(w, http.StatusServiceUnavailable, detail)
}

// problem answers in the form of RFC 9457.
func problem(w http.ResponseWriter, status int, detail string) {
	body, err := json.Marshal(map[string]any{"type": "about:blank", "title": http.StatusText(status), "status": status, "detail": detail})
	if err != nil {
		body = nil // strings and a number can be written
	}
	problemHeaders(w.Header())
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

func problemHeaders(h http.Header) {
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
}

// refuse turns an error of a page event into its answer.
func refuse(w http.ResponseWriter, err error) {
	var field *kairos.FieldError
	if errors.As(err, &field) {
		problem(w, http.StatusBadRequest, field.Error())
		return
	}
	unavailable(w, "The event could not be stored. Send it again.")
}

// allowOrigins lets pages of any origin report and read the answer, also of a
// failure: the token is the permission.
func allowOrigins(h http.Header) {
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", "Retry-After")
}

func preflight(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Access-Control-Allow-Methods", "POST")
	h.Set("Access-Control-Allow-Headers", "Content-Type")
	h.Set("Access-Control-Max-Age", "86400")
	w.WriteHeader(http.StatusNoContent)
}
