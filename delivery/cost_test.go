//go:build !race

package delivery

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/internal/batch"
	"kairos/internal/content"
	"kairos/internal/instructions"
	"kairos/internal/token"
)

// What delivery does for a message before the provider's turn, beside its
// tokens, which have a guard of their own; and for its events.
func TestInstructionsOfAMessage(t *testing.T) {
	ring, err := token.ParseKeyring("1:00112233445566778899aabbccddeeff")
	require.NoError(t, err)
	d, err := New(nil, kairos.NewManualClock(start), Options{Keyring: ring, PublicURL: "https://go.shop.example", From: Address{"Shop", "news@shop.example"}})
	require.NoError(t, err)
	links := []string{"https://shop.example/1", "https://shop.example/2", "https://shop.example/3"}
	c, err := content.Compile(content.Source{Subject: "Offer", HTML: `<p>Hello {{ contact.first_name | default: "you" }}</p>
		<a href="` + links[0] + `">1</a><a href="` + links[1] + `">2</a><a href="` + links[2] + `">3</a>`})
	require.NoError(t, err)
	id := kairos.NewID()
	s := d.newSheet(&batch.Claimed{Ticket: kairos.NewID()}, &campaign{id: id, name: "Autumn", spec: kairos.CampaignSpec{Purpose: "marketing", Topic: "news"}}, c)
	p := &recipient{id: kairos.NewID(), contact: kairos.NewID(), number: 1, email: "ann@example.org", first: "Ann", last: "Lee",
		attributes: []byte(`{"city":"Oslo","plan":"gold","age":40}`)}
	ctx, buf := context.Background(), make([]byte, 0, token.MaxLen)
	tokens := func() {
		for i, l := range links {
			buf = ring.AppendMint(buf[:0], token.Claims{Purpose: token.PurposeClick, Campaign: id, Notification: p.id, Link: uint16(i), Destination: l})
		}
		buf = ring.AppendMint(buf[:0], token.Claims{Purpose: token.PurposeOpen, Campaign: id, Notification: p.id})
		buf = ring.AppendMint(buf[:0], token.Claims{Purpose: token.PurposeUnsubscribe, Campaign: id, Notification: p.id})
	}
	instructions.CheckBeside(t, "a message", 25254, tokens, func() {
		if _, reason, err := s.compose(ctx, p); err != nil || reason != "" {
			panic(reason)
		}
	})
	e := &endings{campaign: id, ticket: kairos.NewID(), at: start, links: 3}
	end := &ending{id: kairos.NewID(), contact: kairos.NewID(), number: 1, provider: "smtp",
		trigger: replyAccepted, result: Result{Outcome: Accepted, Code: "250 2.0.0", ProviderID: "K1"}, note: kairos.StateAccepted}
	out, room := make([]kairos.Event, 0, 2), make([]byte, 0, 1024)
	instructions.Check(t, "the events of an end", 1641, func() {
		r := room
		out = e.eventsOf(out[:0], &r, change{end, kairos.AttemptSending, kairos.AttemptAccepted})
	})
}
