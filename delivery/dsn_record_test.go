package delivery

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
)

// lee gives the people of a world the address that the letters are about.
func (w *world) lee(i int) (kairos.AttemptRef, string) {
	w.t.Helper()
	w.exec(`UPDATE contacts SET email = $2 WHERE id = $1`, w.people[i], "Ann.Lee@post.example")
	ref := kairos.AttemptRef{Notification: w.notes[i], Number: 1}
	return ref, "bounce+" + ref.String() + "@bounce.shop.example"
}

func (w *world) suppressed() (n int) {
	w.t.Helper()
	require.NoError(w.t, w.pool.QueryRow(w.ctx, `SELECT count(*) FROM suppressions WHERE reason = 'bounced'`).Scan(&n))
	return n
}

// TestHardBounceSettlesAndSuppresses: it had left, and the mailbox is no more;
// told eight times at once it is one event.
func TestHardBounceSettlesAndSuppresses(t *testing.T) {
	w, d, _ := doubtful(t, 2, "marketing")
	ref, to := w.lee(0)
	w.clock.Advance(time.Hour)
	message := letter("postfix, no such user", ref)
	var wg sync.WaitGroup
	answers := make([]Bounce, 8)
	for i := range answers {
		wg.Go(func() {
			var err error
			answers[i], err = d.TakeBounce(w.ctx, to, message)
			require.NoError(t, err)
		})
	}
	wg.Wait()
	fresh := 0
	for _, b := range answers {
		if !b.Duplicate {
			fresh++
		}
		b.Duplicate = false
		require.Equal(t, Bounce{Recorded: true, Ref: ref, Kind: kairos.NotificationBounced, Class: "hard", Code: "5.1.1"}, b)
	}
	require.Equal(t, 1, fresh)
	require.Equal(t, 1, w.events()[kairos.NotificationBounced])
	var data string
	var at time.Time
	require.NoError(t, w.pool.QueryRow(w.ctx, `SELECT data, occurred_at FROM events WHERE kind = $1 AND campaign = $2 AND contact = $3`,
		kairos.NotificationBounced, w.campaign, w.people[0]).Scan(&data, &at))
	require.JSONEq(t, `{"source":"dsn","attempt":"`+ref.String()+`","class":"hard","code":"5.1.1",
		"reason":"550 5.1.1 <address> Recipient address rejected: User unknown in virtual mailbox table"}`, data)
	require.True(t, at.Equal(start.Add(10*time.Minute)), at)

	w.feedback(d)
	require.Equal(t, map[string]int{"accepted": 1, "unknown": 1}, w.counts("attempts"))
	var evidence string
	require.NoError(t, w.pool.QueryRow(w.ctx, `SELECT evidence FROM attempts WHERE state = 'accepted' AND notification = $1`, w.notes[0]).Scan(&evidence))
	require.Equal(t, kairos.NotificationBounced, evidence)
	require.Equal(t, 1, w.suppressed())
	var one bool
	require.NoError(t, w.pool.QueryRow(w.ctx, `SELECT address = $1 FROM suppressions`, addressHash(ann)).Scan(&one))
	require.True(t, one)
}

// TestSoftBouncesSettleAndSuppressNobody: so do delays.
func TestSoftBouncesSettleAndSuppressNobody(t *testing.T) {
	names := []string{"postfix, delayed", "exim, its own status hides the server's", "gmail, returned by Message-ID", "expired, wrapped by a gateway, with an mbox line"}
	w, d, _ := doubtful(t, len(names), "marketing")
	for i, name := range names {
		ref, to := w.lee(i)
		if want[name].number == 0 {
			to = ""
		}
		b, err := d.TakeBounce(w.ctx, to, letter(name, ref))
		require.NoError(t, err)
		require.Equal(t, Bounce{Recorded: true, Ref: ref, Kind: want[name].kind, Class: "soft", Code: want[name].code}, b, name)
	}
	w.feedback(d)
	require.Equal(t, map[string]int{"accepted": len(names)}, w.counts("attempts"))
	require.Equal(t, map[string]int{"accepted": len(names)}, w.counts("notifications"))
	require.Zero(t, w.suppressed())
	require.Equal(t, 1, w.events()[kairos.NotificationDeferred])
	require.Equal(t, len(names)-1, w.events()[kairos.NotificationBounced])
}

// TestBounceSuppressesOnlyTheMailboxItNames, and only that of the attempt's
// own person.
func TestBounceSuppressesOnlyTheMailboxItNames(t *testing.T) {
	w, d, _ := doubtful(t, 4, "marketing")
	take := func(to string, message []byte, class string) {
		t.Helper()
		b, err := d.TakeBounce(w.ctx, to, message)
		require.NoError(t, err)
		require.True(t, b.Recorded)
		require.Equal(t, class, b.Class)
	}
	path := func(i int) string { return "bounce+" + w.notes[i].String() + ".1@bounce.shop.example" }
	message := letter("postfix, no such user", kairos.AttemptRef{Notification: w.notes[0], Number: 1})
	// A guessed attempt of somebody whose address the writer doesn't know.
	take(path(0), message, "soft")
	// A person who has a new address since, one who was erased.
	w.exec(`UPDATE contacts SET email = 'ann.new@post.example' WHERE id = $1`, w.people[1])
	take(path(1), message, "soft")
	w.exec(`UPDATE contacts SET email = NULL WHERE id = $1`, w.people[2])
	take(path(2), message, "soft")
	w.feedback(d)
	require.Zero(t, w.suppressed())
	// A forwarded one: the final mailbox is another, the returned header is ours.
	w.lee(3)
	take(path(3), []byte(strings.ReplaceAll(string(message), "rfc822; ann.lee@post.example", "rfc822; somebody@else.example")), "hard")
	w.feedback(d)
	require.Equal(t, 1, w.suppressed())
	require.Equal(t, map[string]int{"accepted": 4}, w.counts("attempts"), "each had left")
	var n int
	require.NoError(t, w.pool.QueryRow(w.ctx, `SELECT count(*) FROM events WHERE data::text ~* '@|ann\.lee|somebody'`).Scan(&n))
	require.Zero(t, n, "no address in the log")
}

// TestWhatIsNoBounceDoesNothing, without an error.
func TestWhatIsNoBounceDoesNothing(t *testing.T) {
	w, d, _ := doubtful(t, 1, "marketing")
	ref, to := w.lee(0)
	stranger := kairos.AttemptRef{Notification: kairos.NewID(), Number: 1}
	message := letter("postfix, no such user", ref)
	for name, c := range map[string]struct {
		to, message string
		reason      string
	}{
		"vacation":            {to, "To: " + to + "\nAuto-Submitted: auto-replied\n\nStatus: 5.1.1\n", BounceNoReport},
		"delivered":           {to, strings.Replace(string(message), "Action: failed", "Action: delivered", 1), BounceNoFailure},
		"no attempt":          {"", string(report("Action: failed\nStatus: 5.1.1")), BounceNoAttempt},
		"unknown":             {"bounce+" + stranger.String() + "@bounce.shop.example", string(message), BounceUnknown},
		"unknown in returned": {"", string(letter("gmail, returned by Message-ID", stranger)), BounceUnknown},
	} {
		b, err := d.TakeBounce(w.ctx, c.to, []byte(c.message))
		require.NoError(t, err, name)
		require.Equal(t, Bounce{Reason: c.reason}, b, name)
	}
	_, err := d.TakeBounce(w.ctx, to, make([]byte, MaxBounce+1))
	require.ErrorIs(t, err, kairos.ErrInvalid)
	w.feedback(d)
	require.Equal(t, map[string]int{"unknown": 1}, w.counts("attempts"))
	require.Zero(t, w.suppressed())
	require.Zero(t, w.events()[kairos.NotificationBounced])
}

// TestBounceOfWhatARestoreForgot: while delivery is frozen a notification may
// have left without an attempt in the database. Before that, one that was never
// begun can't bounce.
func TestBounceOfWhatARestoreForgot(t *testing.T) {
	w := plan(t, 1, 1)
	d := w.delivery(newFake(1, 1))
	ref, to := w.lee(0)
	message := letter("postfix, no such user", ref)
	b, err := d.TakeBounce(w.ctx, to, message)
	require.NoError(t, err)
	require.Equal(t, Bounce{Reason: BounceUnknown}, b)
	_, err = NewRestore(w.pool, w.clock).Freeze(w.ctx, nil, "test", "eve")
	require.NoError(t, err)
	b, err = d.TakeBounce(w.ctx, to, message)
	require.NoError(t, err)
	require.True(t, b.Recorded)
}
