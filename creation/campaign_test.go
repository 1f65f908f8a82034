package creation_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/creation"
)

func TestCreateCampaignNamesTheField(t *testing.T) {
	t.Parallel()
	h := newHouse(t, creation.Options{})
	good := h.spec()
	at := func(d time.Duration) *time.Time { v := noon.Add(d); return &v }
	for name, c := range map[string]struct {
		field  string
		change func(s *kairos.CampaignSpec)
	}{
		"name":               {"name", func(s *kairos.CampaignSpec) { s.Name = " " }},
		"name smuggled":      {"name", func(s *kairos.CampaignSpec) { s.Name = "a\r\nBcc: b" }},
		"channel":            {"channels", func(s *kairos.CampaignSpec) { s.Channels = []kairos.Channel{"pigeon"} }},
		"template":           {"template", func(s *kairos.CampaignSpec) { s.Template = kairos.ID{} }},
		"template unknown":   {"template", func(s *kairos.CampaignSpec) { s.Template = kairos.NewID() }},
		"audience none":      {"audience", func(s *kairos.CampaignSpec) { s.Audience = kairos.Audience{} }},
		"audience two":       {"audience", func(s *kairos.CampaignSpec) { s.Audience.Segment = kairos.NewID() }},
		"segment unknown":    {"audience.segment", func(s *kairos.CampaignSpec) { s.Audience = kairos.Audience{Segment: kairos.NewID()} }},
		"contacts empty":     {"audience.contacts", func(s *kairos.CampaignSpec) { s.Audience = kairos.Audience{Contacts: []kairos.ID{}} }},
		"contacts unknown":   {"audience.contacts", func(s *kairos.CampaignSpec) { s.Audience = kairos.Audience{Contacts: []kairos.ID{kairos.NewID()}} }},
		"mode":               {"schedule.mode", func(s *kairos.CampaignSpec) { s.Schedule.Mode = "soon" }},
		"at missing":         {"schedule.at", func(s *kairos.CampaignSpec) { s.Schedule.Mode = kairos.ModeAt }},
		"at past":            {"schedule.at", func(s *kairos.CampaignSpec) { s.Schedule = kairos.Schedule{Mode: kairos.ModeAt, At: at(-time.Minute)} }},
		"at with now":        {"schedule.at", func(s *kairos.CampaignSpec) { s.Schedule.At = at(time.Hour) }},
		"local time missing": {"schedule.local_time", func(s *kairos.CampaignSpec) { s.Schedule.Mode = kairos.ModeLocal }},
		"window short": {"schedule.window", func(s *kairos.CampaignSpec) {
			s.Schedule.Mode, s.Schedule.Window = kairos.ModeOptimised, kairos.Duration(time.Minute)
		}},
		"window negative": {"schedule.window", func(s *kairos.CampaignSpec) { s.Schedule.Window = -1 }},
		"share":           {"experiment.holdout", func(s *kairos.CampaignSpec) { s.Experiment = &kairos.Experiment{Holdout: 1.5} }},
		"share negative":  {"experiment.explore", func(s *kairos.CampaignSpec) { s.Experiment = &kairos.Experiment{Explore: -0.1} }},
		"shares": {"experiment", func(s *kairos.CampaignSpec) {
			s.Experiment = &kairos.Experiment{Holdout: 0.5, Control: 0.3, Explore: 0.3}
		}},
		"goal":        {"goal.kind", func(s *kairos.CampaignSpec) { s.Goal.Kind = "Payment" }},
		"attribution": {"goal.attribution_window", func(s *kairos.CampaignSpec) { s.Goal.AttributionWindow = -5 }},
		"currency":    {"cost.currency", func(s *kairos.CampaignSpec) { s.Cost.Currency = "euro" }},
		"cost":        {"cost.per_message", func(s *kairos.CampaignSpec) { s.Cost.PerMessage = -1 }},
		"latest past": {"latest", func(s *kairos.CampaignSpec) { s.Latest = at(-time.Hour) }},
		"latest before the at": {"latest", func(s *kairos.CampaignSpec) {
			s.Schedule = kairos.Schedule{Mode: kairos.ModeAt, At: at(2 * time.Hour)}
			s.Latest = at(time.Hour)
		}},
		"utm": {"utm.source", func(s *kairos.CampaignSpec) { s.UTM.Source = strings.Repeat("x", 300) }},
	} {
		s := good
		c.change(&s)
		_, err := h.CreateCampaign(context.Background(), s, kairos.Ticket{})
		var field *kairos.FieldError
		require.ErrorAs(t, err, &field, name)
		require.Equal(t, c.field, field.Field, name)
	}
	require.Zero(t, h.count(`SELECT count(*) FROM campaigns`))
}

func TestCreateCampaignStoresDefaults(t *testing.T) {
	t.Parallel()
	h := newHouse(t, creation.Options{})
	s := h.spec()
	s.Channels, s.Schedule = nil, kairos.Schedule{Mode: kairos.ModeOptimised}
	s.Experiment = &kairos.Experiment{Holdout: 0.1, Control: 0.2, Explore: 0.7}
	s.UTM.Source = "kairos"
	c, err := h.CreateCampaign(context.Background(), s, kairos.Ticket{Origin: "api"})
	require.NoError(t, err)
	require.Equal(t, kairos.Draft, c.State)
	require.Equal(t, "marketing", c.Spec.Purpose)
	require.Equal(t, []kairos.Channel{kairos.Email}, c.Spec.Channels)
	require.Equal(t, kairos.Duration(24*time.Hour), c.Spec.Schedule.Window)
	require.Equal(t, kairos.ClockTime(10, 0), c.Spec.Schedule.Baseline)
	require.Equal(t, kairos.Goal{Kind: kairos.PaymentReceived, AttributionWindow: kairos.Duration(168 * time.Hour)}, c.Spec.Goal)
	require.Equal(t, "EUR", c.Spec.Cost.Currency)
	require.Equal(t, kairos.UTM{Source: "kairos"}, c.Spec.UTM)
	require.Equal(t, int64(1), h.count(`SELECT count(*) FROM tickets WHERE id = $1 AND origin = 'api' AND purpose = 'marketing'`, c.Ticket))

	s.Name = "Winter"
	c, err = h.UpdateCampaign(context.Background(), c.ID, s)
	require.NoError(t, err)
	require.Equal(t, "Winter", c.Name)
	_, err = h.Launch(context.Background(), c.ID, kairos.Ticket{})
	require.NoError(t, err)
	_, err = h.UpdateCampaign(context.Background(), c.ID, s)
	require.ErrorIs(t, err, kairos.ErrConflict)
	require.ErrorContains(t, err, "campaign is running, only a draft can be changed")
}

// TestStateMachine takes every action in every state.
func TestStateMachine(t *testing.T) {
	t.Parallel()
	h := newHouse(t, creation.Options{})
	ctx := context.Background()
	spec := h.spec()
	actions := map[string]func(context.Context, kairos.ID, kairos.Ticket) (creation.Campaign, error){
		"launch": h.Launch, "pause": h.Pause, "resume": h.Resume, "cancel": h.Cancel,
	}
	want := map[string]map[string]string{ // state -> action -> new state; absent: conflict
		kairos.Draft:     {"launch": kairos.Running, "cancel": kairos.Cancelled},
		kairos.Scheduled: {"launch": kairos.Scheduled, "pause": kairos.Paused, "resume": kairos.Scheduled, "cancel": kairos.Cancelled},
		kairos.Running:   {"launch": kairos.Running, "pause": kairos.Paused, "resume": kairos.Running, "cancel": kairos.Cancelled},
		kairos.Paused:    {"pause": kairos.Paused, "resume": kairos.Running, "cancel": kairos.Cancelled},
		kairos.Cancelled: {"cancel": kairos.Cancelled},
		kairos.Finished:  {},
		kairos.Failed:    {},
	}
	for state, edges := range want {
		for name, act := range actions {
			c, err := h.CreateCampaign(ctx, spec, kairos.Ticket{})
			require.NoError(t, err)
			h.exec(`UPDATE campaigns SET state = $2 WHERE id = $1`, c.ID, state)
			before := h.count(`SELECT count(*) FROM events`)
			got, err := act(ctx, c.ID, kairos.Ticket{})
			to, ok := edges[name]
			if !ok {
				require.ErrorIs(t, err, kairos.ErrConflict, "%s a %s campaign", name, state)
				require.ErrorContains(t, err, "campaign is "+state+", cannot be ")
				to = state
			} else {
				require.NoError(t, err, "%s a %s campaign", name, state)
				require.Equal(t, to, got.State)
			}
			after := h.count(`SELECT count(*) FROM events`)
			require.Equal(t, to != state, after == before+1, "%s a %s campaign: an event for each change and for no repeat", name, state)
			for range 1 {
				again, err := act(ctx, c.ID, kairos.Ticket{})
				if ok {
					require.NoError(t, err)
					require.Equal(t, to, again.State)
				}
			}
			require.Equal(t, after, h.count(`SELECT count(*) FROM events`))
		}
	}
	_, err := h.Pause(ctx, kairos.NewID(), kairos.Ticket{})
	require.ErrorIs(t, err, kairos.ErrNotFound)
}

func TestLaunchPinsContentAndAudience(t *testing.T) {
	t.Parallel()
	h := newHouse(t, creation.Options{})
	ctx := context.Background()
	h.people(5)
	s := h.spec()
	c, err := h.CreateCampaign(ctx, s, kairos.Ticket{})
	require.NoError(t, err)
	_, err = h.SaveTemplate(ctx, creation.TemplateInput{ID: s.Template, Subject: "Second", Text: "Hi"})
	require.NoError(t, err)
	c, err = h.Launch(ctx, c.ID, kairos.Ticket{Origin: "api", Actor: "key-1"})
	require.NoError(t, err)
	_, err = h.SaveTemplate(ctx, creation.TemplateInput{ID: s.Template, Subject: "Third", Text: "Hi"})
	require.NoError(t, err)
	h.clock.Advance(time.Minute) // who comes now is too late
	h.exec(`INSERT INTO contacts (id, external_id, created_at, updated_at) VALUES (gen_random_uuid(), 'late', $1, $1)`, h.clock.Now())
	h.drain()
	c, err = h.Campaign(ctx, c.ID)
	require.NoError(t, err)
	require.Equal(t, 2, c.TemplateVersion)
	require.Equal(t, int64(5), *c.AudienceSize)
	require.NotNil(t, c.ExpandedAt)
	require.Equal(t, int64(5), h.count(`SELECT sum(cardinality(contacts)) FROM audience_pages WHERE campaign = $1`, c.ID))
	require.Equal(t, int64(1), h.count(`SELECT count(*) FROM events e JOIN tickets t ON t.id = e.ticket
		WHERE e.kind = 'campaign.launched' AND e.campaign = $1 AND t.actor = 'key-1'`, c.ID))
	require.Equal(t, int64(1), h.count(`SELECT count(*) FROM batches WHERE campaign = $1 AND kind = 'orchestration.plan' AND ticket = $2`, c.ID, c.Ticket))
}

func TestScheduledCampaignExpandsAheadAndStartsOnTime(t *testing.T) {
	t.Parallel()
	h := newHouse(t, creation.Options{})
	ctx := context.Background()
	h.people(3)
	s := h.spec()
	first := noon.Add(2 * time.Hour)
	s.Schedule = kairos.Schedule{Mode: kairos.ModeAt, At: &first}
	c, err := h.CreateCampaign(ctx, s, kairos.Ticket{})
	require.NoError(t, err)
	c, err = h.Launch(ctx, c.ID, kairos.Ticket{})
	require.NoError(t, err)
	require.Equal(t, kairos.Scheduled, c.State)
	require.Empty(t, h.due(kairos.KindExpand))
	h.clock.Set(first.Add(-15 * time.Minute))
	h.drain()
	require.Equal(t, int64(1), h.count(`SELECT count(*) FROM audience_pages`))
	require.NoError(t, h.Tick(ctx))
	c, _ = h.Campaign(ctx, c.ID)
	require.Equal(t, kairos.Scheduled, c.State)
	_, err = h.Pause(ctx, c.ID, kairos.Ticket{})
	require.NoError(t, err)
	c, err = h.Resume(ctx, c.ID, kairos.Ticket{})
	require.NoError(t, err)
	require.Equal(t, kairos.Scheduled, c.State)
	h.clock.Set(first)
	require.NoError(t, h.Tick(ctx))
	c, _ = h.Campaign(ctx, c.ID)
	require.Equal(t, kairos.Running, c.State)

	late, err := h.CreateCampaign(ctx, func() kairos.CampaignSpec {
		at := h.clock.Now().Add(time.Hour)
		s.Schedule = kairos.Schedule{Mode: kairos.ModeAt, At: &at, Window: kairos.Duration(time.Hour)}
		return s
	}(), kairos.Ticket{})
	require.NoError(t, err)
	h.clock.Advance(3 * time.Hour)
	_, err = h.Launch(ctx, late.ID, kairos.Ticket{})
	require.ErrorIs(t, err, kairos.ErrInvalid, "nobody would be written to")
}

func TestTickFinishesWhenNobodyIsLeft(t *testing.T) {
	t.Parallel()
	h := newHouse(t, creation.Options{})
	ctx := context.Background()
	h.people(2)
	c, err := h.CreateCampaign(ctx, h.spec(), kairos.Ticket{})
	require.NoError(t, err)
	_, err = h.Launch(ctx, c.ID, kairos.Ticket{})
	require.NoError(t, err)
	state := func() string {
		require.NoError(t, h.Tick(ctx))
		got, err := h.Campaign(ctx, c.ID)
		require.NoError(t, err)
		return got.State
	}
	require.Equal(t, kairos.Running, state(), "not expanded yet")
	h.drain()
	require.Equal(t, kairos.Running, state(), "a page waits to be planned")
	h.exec(`INSERT INTO notifications (id, campaign, contact, channel, state, arm, propensity, planned_at, decided_at)
		SELECT gen_random_uuid(), $1, id, 'email', 'planned', 'all', 1, $2, $2 FROM contacts`, c.ID, noon)
	h.exec(`UPDATE batches SET state = 'done' WHERE campaign = $1`, c.ID)
	require.Equal(t, kairos.Running, state(), "two are still to be written to")
	h.exec(`UPDATE notifications SET state = 'unknown' WHERE contact = (SELECT min(id::text)::uuid FROM contacts)`)
	require.Equal(t, kairos.Running, state())
	h.exec(`UPDATE notifications SET state = 'accepted' WHERE state = 'planned'`)
	require.Equal(t, kairos.Finished, state())
	require.Equal(t, kairos.Finished, state())
	require.Equal(t, int64(1), h.count(`SELECT count(*) FROM events WHERE kind = 'campaign.finished' AND campaign = $1`, c.ID))
	_, err = h.Pause(ctx, c.ID, kairos.Ticket{})
	require.ErrorContains(t, err, "campaign is finished, cannot be paused")

	// The unknown one turns out not to have been sent: it gets a batch of its own.
	h.exec(`UPDATE notifications SET state = 'planned' WHERE state = 'unknown'`)
	h.exec(`INSERT INTO batches (id, kind, campaign, slot) VALUES (gen_random_uuid(), 'delivery.send', $1, $2)`, c.ID, noon)
	require.Equal(t, kairos.Running, state(), "somebody would be forgotten")
	require.Equal(t, kairos.Running, state())
	require.Equal(t, int64(1), h.count(`SELECT count(*) FROM events WHERE kind = 'campaign.reopened' AND campaign = $1`, c.ID))
	h.exec(`UPDATE notifications SET state = 'accepted' WHERE state = 'planned'`)
	h.exec(`UPDATE batches SET state = 'done' WHERE campaign = $1`, c.ID)
	require.Equal(t, kairos.Finished, state())
}

func TestCampaignForNobodyFinishes(t *testing.T) {
	t.Parallel()
	h := newHouse(t, creation.Options{})
	ctx := context.Background()
	c, err := h.CreateCampaign(ctx, h.spec(), kairos.Ticket{})
	require.NoError(t, err)
	_, err = h.Launch(ctx, c.ID, kairos.Ticket{})
	require.NoError(t, err)
	h.drain()
	require.NoError(t, h.Tick(ctx))
	c, err = h.Campaign(ctx, c.ID)
	require.NoError(t, err)
	require.Equal(t, kairos.Finished, c.State)
	require.Zero(t, *c.AudienceSize)
}

func TestCampaignsListAndFilter(t *testing.T) {
	t.Parallel()
	h := newHouse(t, creation.Options{})
	ctx := context.Background()
	s := h.spec()
	var ids []kairos.ID
	for range 3 {
		h.clock.Advance(time.Second)
		c, err := h.CreateCampaign(ctx, s, kairos.Ticket{})
		require.NoError(t, err)
		ids = append(ids, c.ID)
	}
	home, err := h.TransactionalCampaign(ctx, s.Template, "", kairos.Ticket{})
	require.NoError(t, err)
	again, err := h.TransactionalCampaign(ctx, s.Template, "", kairos.Ticket{})
	require.NoError(t, err)
	require.Equal(t, home.ID, again.ID)
	require.Equal(t, kairos.Running, home.State)
	require.False(t, home.Spec.Marketing())
	h.clock.Set(noon.AddDate(0, 1, 0))
	next, err := h.TransactionalCampaign(ctx, s.Template, "", kairos.Ticket{})
	require.NoError(t, err)
	require.NotEqual(t, home.ID, next.ID, "a new month, a new home")

	list, after, err := h.Campaigns(ctx, creation.CampaignQuery{Limit: 2})
	require.NoError(t, err)
	require.Equal(t, []kairos.ID{ids[2], ids[1]}, []kairos.ID{list[0].ID, list[1].ID})
	list, after, err = h.Campaigns(ctx, creation.CampaignQuery{Limit: 2, After: after})
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Empty(t, after)
	list, _, err = h.Campaigns(ctx, creation.CampaignQuery{State: kairos.Running})
	require.NoError(t, err)
	require.Empty(t, list)
}

func TestEstimateCountsEachPersonOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t, creation.Options{})
	ctx := context.Background()
	h.people(20)
	h.exec(`UPDATE contacts SET email = NULL, email_key = NULL WHERE external_id IN ('p1', 'p2')`)
	h.exec(`INSERT INTO suppressions (channel, address, scope, reason, contact, created_at)
		SELECT 'email', sha256(convert_to(email_key, 'UTF8')), 'all', 'bounced', NULL, now() FROM contacts WHERE external_id = 'p3'
		UNION ALL SELECT 'email', sha256('elsewhere'), 'all', 'bounced', id, now() FROM contacts WHERE external_id = 'p4'
		UNION ALL SELECT 'email', sha256(convert_to(email_key, 'UTF8')), 'marketing', 'unsubscribed', NULL, now() FROM contacts WHERE external_id IN ('p3', 'p5')`)
	h.exec(`UPDATE contacts SET preferences = '{"channels":{"email":false}}' WHERE external_id = 'p6'`)
	h.exec(`UPDATE contacts SET preferences = '{"topics":{"news":false}}' WHERE external_id = 'p7'`)
	s := h.spec()
	s.Topic, s.Experiment = "news", &kairos.Experiment{Holdout: 0.1}
	s.Cost = kairos.Cost{Fixed: kairos.AmountOf(100), PerMessage: kairos.AmountOf(0.5)}
	c, err := h.CreateCampaign(ctx, s, kairos.Ticket{})
	require.NoError(t, err)
	e, err := h.Estimate(ctx, c.ID)
	require.NoError(t, err)
	require.Equal(t, creation.Estimate{
		Audience: 20, NoAddress: 2, Suppressed: 2, Unsubscribed: 1, NoConsent: 2, Reachable: 13, HeldOut: 1, Messages: 12,
		Cost: kairos.AmountOf(106), Currency: "EUR",
	}, e)
	s.Purpose = "transactional"
	c, err = h.CreateCampaign(ctx, s, kairos.Ticket{})
	require.NoError(t, err)
	e, err = h.Estimate(ctx, c.ID)
	require.NoError(t, err)
	require.Equal(t, int64(16), e.Reachable, "unsubscriptions and preferences bind marketing only")
}
