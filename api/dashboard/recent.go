package dashboard

import (
	"context"
	"slices"
	"time"

	"kairos"
	"kairos/analysis"
)

const recentEvents = 12

// livelyKinds are what a campaign's people and its operators did. The facts of
// whole batches (planned, sent, accepted) are in the progress.
var livelyKinds = []string{
	kairos.CampaignLaunched, kairos.CampaignPaused, kairos.CampaignResumed, kairos.CampaignCancelled, kairos.CampaignFinished, kairos.CampaignReopened,
	kairos.NotificationUnknown, kairos.NotificationRejected, kairos.NotificationBounced, kairos.NotificationDropped,
	kairos.NotificationOpened, kairos.NotificationClicked, kairos.NotificationComplained,
	kairos.PageViewed, kairos.CTAClicked, kairos.OfferAccepted, kairos.OfferDeclined, kairos.PaymentReceived, kairos.ContactUnsubscribed,
}

// recentOf returns a campaign's newest lively events, the newest first. The
// log is read forward, so it is looked at from further and further back: as
// far as is quick. Older events than that are not found.
func (d *dashboard) recentOf(ctx context.Context, id kairos.ID) ([]kairos.Event, error) {
	return d.recent.get(ctx, id.String(), d.opts.Pace/2, func(ctx context.Context) ([]kairos.Event, error) {
		head, err := d.opts.Analysis.Head(ctx)
		if err != nil {
			return nil, err
		}
		quick, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		defer cancel()
		var found []kairos.Event
		for back := uint64(256); ; back *= 16 {
			from := kairos.Cursor{}
			if head.XID > back {
				from.XID = head.XID - back
			}
			events, err := d.eventsFrom(quick, id, from)
			if err != nil {
				if quick.Err() != nil && ctx.Err() == nil {
					break // what was found has to do
				}
				return nil, err
			}
			found = events
			if len(found) >= recentEvents || from.IsZero() || back > 1<<20 {
				break
			}
		}
		slices.Reverse(found)
		return found, nil
	})
}

// eventsFrom returns the last few of a campaign's lively events after a cursor.
func (d *dashboard) eventsFrom(ctx context.Context, id kairos.ID, from kairos.Cursor) (last []kairos.Event, err error) {
	q := analysis.EventQuery{Campaign: id, Kinds: livelyKinds, After: from, Limit: analysis.MaxEvents}
	for {
		events, next, err := d.opts.Analysis.Events(ctx, q)
		if err != nil {
			return nil, err
		}
		last = append(last, events...)
		if len(last) > recentEvents {
			last = slices.Clone(last[len(last)-recentEvents:])
		}
		if len(events) < q.Limit {
			return last, nil
		}
		q.After = next
	}
}
