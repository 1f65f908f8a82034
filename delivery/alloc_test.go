//go:build !race

package delivery

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/internal/batch"
	"kairos/internal/content"
	"kairos/internal/token"
)

// The limits here are what was measured when they were written and three tenths
// more. Whoever needs more room says why.

func TestAllocationsOfAMessage(t *testing.T) {
	ring, err := token.ParseKeyring("1:00112233445566778899aabbccddeeff")
	require.NoError(t, err)
	d, err := New(nil, kairos.NewManualClock(start), Options{Keyring: ring, PublicURL: "https://go.shop.example", From: Address{"Shop", "news@shop.example"}})
	require.NoError(t, err)
	c, err := content.Compile(content.Source{Subject: "Offer", HTML: `<p>Hello {{ contact.first_name | default: "you" }}</p>
		<a href="https://shop.example/1">1</a><a href="https://shop.example/2">2</a><a href="https://shop.example/3">3</a>`})
	require.NoError(t, err)
	s := d.newSheet(&batch.Claimed{Ticket: kairos.NewID()}, &campaign{id: kairos.NewID(), name: "Autumn", spec: kairos.CampaignSpec{Purpose: "marketing", Topic: "news"}}, c)
	require.False(t, s.attributes)
	p := &recipient{id: kairos.NewID(), contact: kairos.NewID(), number: 1, email: "ann@example.org", first: "Ann", last: "Lee",
		attributes: []byte(`{"city":"Oslo","plan":"gold","age":40}`)}
	ctx := context.Background()
	allocs := testing.AllocsPerRun(100, func() {
		if _, reason, err := s.compose(ctx, p); err != nil || reason != "" {
			t.Fatal(reason, err)
		}
	})
	t.Logf("%.1f allocations a message", allocs)
	require.LessOrEqual(t, allocs, 36.0)
}

func TestAllocationsOfEvents(t *testing.T) {
	e := &endings{campaign: kairos.NewID(), ticket: kairos.NewID(), at: start, links: 3}
	end := &ending{id: kairos.NewID(), contact: kairos.NewID(), number: 1, provider: "smtp",
		trigger: replyAccepted, result: Result{Outcome: Accepted, Code: "250 2.0.0", ProviderID: "K1"}, note: kairos.StateAccepted}
	out, room := make([]kairos.Event, 0, 2), make([]byte, 0, 1024)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		r := room
		out = e.eventsOf(out[:0], &r, change{end, kairos.AttemptSending, kairos.AttemptAccepted})
	}))
	require.JSONEq(t, `{"provider":"smtp"}`, string(out[0].Data))
	require.JSONEq(t, `{"provider":"smtp","provider_id":"K1","code":"250 2.0.0","links":3}`, string(out[1].Data))
}

func TestFactsAreJSON(t *testing.T) {
	room := []byte("before")
	f := facts{Code: "1\"\\\x01<ü>", Detail: "a b", Actor: "", Links: 2}
	require.JSONEq(t, `{"code":"1\"\\\u0001<ü>","detail":"a b","links":2}`, string(f.in(&room)))
	require.Equal(t, "{}", string((&facts{}).in(&room)))
}
