package api

import (
	"context"
	"regexp"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"kairos"
)

const (
	purposeHeader        = "Kairos-Purpose"
	classificationHeader = "Kairos-Classification"
	traceHeader          = "Traceparent"
)

var (
	wordForm  = regexp.MustCompile(`^[a-z0-9][a-z0-9_.-]{0,63}$`)
	traceForm = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)
)

func ticketParameters() []*huma.Param {
	word := func() *huma.Schema { return &huma.Schema{Type: "string", MaxLength: new(1000)} }
	return []*huma.Param{
		{Name: purposeHeader, In: "header", Schema: word(), Description: "What the request is for; kept with everything it causes. Else the key's default."},
		{Name: classificationHeader, In: "header", Schema: word(), Description: "How its data is classified, separated by commas: pii, gdpr, pci. Else the key's default."},
		{Name: "traceparent", In: "header", Schema: word(), Description: "W3C trace context; kept with everything the request causes."},
	}
}

// carry reads the request's ticket from its headers, else from the key's
// defaults.
func (a *server) carry(ctx huma.Context, next func(huma.Context)) {
	v := visitOf(ctx.Context())
	t, err := ticketOf(ctx.Header, v.caller, a.opts.Clock)
	if err != nil {
		a.fail(ctx, err)
		return
	}
	v.ticket = t
	next(ctx)
}

func ticketOf(header func(string) string, caller *Identity, clock kairos.Clock) (kairos.Ticket, error) {
	now := clock.Now()
	t := kairos.Ticket{ID: kairos.NewIDAt(now), Origin: "api", CreatedAt: now}
	if caller != nil {
		t.Actor, t.Purpose, t.Classification = caller.Key, caller.Purpose, caller.Classification
	}
	if p := header(purposeHeader); p != "" {
		if !wordForm.MatchString(p) {
			return t, newProblem(422, "The request is not valid.", "header."+purposeHeader, "must be one word of small letters, digits, dots, dashes and underscores")
		}
		t.Purpose = p
	}
	if c := header(classificationHeader); c != "" {
		t.Classification = nil
		for word := range strings.SplitSeq(c, ",") {
			word = strings.TrimSpace(word)
			if !wordForm.MatchString(word) || len(t.Classification) == 16 {
				return t, newProblem(422, "The request is not valid.", "header."+classificationHeader, "must be at most 16 words of small letters, separated by commas")
			}
			t.Classification = append(t.Classification, word)
		}
	}
	// A traceparent that is malformed counts as none (W3C Trace Context, 3.2.2).
	if p := header(traceHeader); traceForm.MatchString(p) && !strings.HasPrefix(p, "ff") {
		t.TraceParent = p
	}
	return t, nil
}

// ticket returns the ticket of the request that ctx belongs to. Handlers pass
// it on as a parameter.
func ticket(ctx context.Context) kairos.Ticket { return visitOf(ctx).ticket }
