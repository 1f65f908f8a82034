package delivery

import (
	"context"
	"errors"

	"kairos"
)

// compose makes the message of an open attempt. An error with a reason is
// final for this person and nobody else; one without is the context's.
func (s *sheet) compose(ctx context.Context, r *recipient) (*Message, kairos.Reason, error) {
	to, err := addressOf(r)
	if err != nil {
		return nil, kairos.ReasonBadAddress, err
	}
	now := s.d.clock.Now()
	data, err := s.data(r, now)
	if err != nil {
		return nil, kairos.ReasonRenderFailed, err
	}
	tracker := &links{s: s, id: r.id}
	rendered, err := s.content.Render(ctx, data, tracker)
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return nil, "", err
	}
	if err != nil {
		return nil, kairos.ReasonRenderFailed, err
	}
	ref := kairos.AttemptRef{Notification: r.id, Number: r.number}
	m := &Message{
		Ref: ref, Campaign: s.campaign.id, Contact: r.contact, Ticket: s.batch.Ticket, Purpose: s.campaign.spec.Purpose,
		From: s.d.opts.From, ReplyTo: s.d.opts.ReplyTo, To: to,
		MessageID: r.id.String() + "@" + s.d.domain, ReturnPath: s.d.returnPath(ref),
		Content: s.content, Rendered: rendered, Date: now,
	}
	if m.Purpose == "" {
		m.Purpose = "marketing"
	}
	if s.campaign.spec.Marketing() {
		m.Unsubscribe = tracker.Unsubscribe()
	}
	return m, "", nil
}
