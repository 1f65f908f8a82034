package dashboard

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"kairos"
	"kairos/analysis/timing"
)

// decision is a form as it was sent, and why it was refused.
type decision struct {
	step  string // "": nothing was sent
	by    timing.By
	field string // by or reason, when one of them is wrong
	wrong string // a sentence
}

// decisionStep is something that a person may do to a model.
type decisionStep struct {
	name    string // in the address
	label   string
	explain string
	tone    string
	do      func(r registry, ctx context.Context, version int, by timing.By) (timing.Model, error)
}

var decisionSteps = []decisionStep{
	{"promote", "Promote", "From the next campaign on, its hours plan the optimised messages. The model in use until now retires.", "main", registry.Promote},
	{"reject", "Reject", "It is never used again. A trial ends at once; campaigns that are planned already go on as planned.", "bad", registry.Reject},
	{"rollback", "Roll back", "It goes out of use. The model that was used before it is used again; without one, messages go out at the usual time.", "bad", registry.Rollback},
}

// stepsFor are the steps that a model's state allows.
func stepsFor(m timing.Model) []decisionStep {
	var names []string
	switch m.State {
	case timing.Candidate:
		names = []string{"reject"}
	case timing.OnTrial:
		if m.Canary != nil && m.Canary.Done && m.Canary.Pass {
			names = append(names, "promote")
		}
		names = append(names, "reject")
	case timing.Active:
		names = []string{"rollback"}
	}
	var list []decisionStep
	for _, s := range decisionSteps {
		if slices.Contains(names, s.name) {
			list = append(list, s)
		}
	}
	return list
}

// train asks for a training.
func (d *dashboard) train(w http.ResponseWriter, r *http.Request) {
	form, err := d.readDecision(r, "train")
	if err == nil {
		_, err = d.registry.Request(r.Context(), form.by)
	}
	if err == nil {
		d.forget()
		http.Redirect(w, r, "/dashboard/timing", http.StatusSeeOther)
		return
	}
	d.refuse(w, r, form, fmt.Errorf("request training: %w", err), d.timingFront)
}

// decide takes a step of a model's life and shows the model again.
func (d *dashboard) decide(s decisionStep) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		version, err := versionOf(r)
		if err != nil {
			d.fail(w, r, err)
			return
		}
		form, err := d.readDecision(r, s.name)
		if err == nil {
			_, err = s.do(d.registry, r.Context(), version, form.by)
		}
		if err == nil {
			d.forget()
			http.Redirect(w, r, modelPath(version), http.StatusSeeOther)
			return
		}
		d.refuse(w, r, form, fmt.Errorf("%s model: %w", s.name, err), d.timingModel)
	}
}

// readDecision reads who decides and why. ErrForbidden: not with this key.
func (d *dashboard) readDecision(r *http.Request, step string) (decision, error) {
	form := decision{step: step, by: timing.By{
		Name: strings.TrimSpace(r.PostFormValue("by")), Reason: strings.TrimSpace(r.PostFormValue("reason")),
	}}
	switch {
	case !d.decides(r):
		return form, kairos.ErrForbidden
	case form.by.Name == "":
		return form, kairos.Invalid("by", "is missing")
	case form.by.Reason == "":
		return form, kairos.Invalid("reason", "is missing")
	}
	return form, nil
}

// forget drops what is remembered of the registry: the visitor wants to see
// what they did.
func (d *dashboard) forget() {
	d.standings.clear()
	d.versions.clear()
}

// refuse shows the page again with what was typed and why it won't do; what
// can't be mended there becomes a page of its own.
func (d *dashboard) refuse(w http.ResponseWriter, r *http.Request, form decision, err error,
	show func(r *http.Request, form decision) (content, error)) {
	var field *kairos.FieldError
	status := http.StatusBadRequest
	switch {
	case errors.As(err, &field) && field.Field == "by":
		form.field, form.wrong = "by", "Your name "+field.Reason+"."
	case errors.As(err, &field) && field.Field == "reason":
		form.field, form.wrong = "reason", "The reason "+field.Reason+"."
	case errors.Is(err, kairos.ErrConflict):
		status, form.wrong = http.StatusConflict, conflictWords(err)
	default:
		d.fail(w, r, err)
		return
	}
	d.forget()
	c, err := show(r, form)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	d.write(w, r, status, layout(d.frame(r, c.title, c.section), c.body))
}

// verbs are what an error was wrapped with on its way from the registry.
var verbs = regexp.MustCompile(`^([a-z ]*(model|training)( \d+)?(: |$))+`)

// conflictWords is what the registry says stands in the way, without the path
// of verbs that it came by.
func conflictWords(err error) string {
	text, found := strings.CutSuffix(err.Error(), ": "+kairos.ErrConflict.Error())
	if text = verbs.ReplaceAllString(text, ""); !found || text == "" {
		return "Its state doesn't allow this any more."
	}
	return sentence(text)
}

// sentence gives a clause its capital and its full stop.
func sentence(s string) string {
	s = strings.TrimSpace(s)
	if s == "" {
		return ""
	}
	first := []rune(s)
	s = strings.ToUpper(string(first[0])) + string(first[1:])
	if strings.ContainsAny(s[len(s)-1:], ".!?") {
		return s
	}
	return s + "."
}
