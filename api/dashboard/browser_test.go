package dashboard

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/smtp"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/analysis"
)

// patience is how long a page may take to show what it has to.
const patience = 10 * time.Second

// tab is a page in a browser.
type tab struct {
	t    *testing.T
	ctx  context.Context
	mu   sync.Mutex
	said []string // what the browser complained about
}

func openBrowser(t *testing.T) *tab {
	t.Helper()
	if _, err := exec.LookPath("chromium"); err != nil {
		t.Fatal("chromium is missing: install it (Debian: apt-get install chromium) or run `make setup`")
	}
	alloc, stop := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath("chromium"), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WindowSize(1280, 900),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
	)...)
	t.Cleanup(stop)
	ctx, leave := chromedp.NewContext(alloc)
	t.Cleanup(leave)
	b := &tab{t: t, ctx: ctx}
	require.NoError(t, chromedp.Do(ctx, chromedp.Navigate("about:blank")))
	require.NoError(t, chromedp.Listen(ctx, func(ev any) {
		if e, ok := ev.(*log.EventEntryAdded); ok {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.said = append(b.said, e.Entry.Text+" "+e.Entry.URL)
		}
	}))
	return b
}

func (b *tab) complaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.said)
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	require.NoError(b.t, chromedp.Do(ctx, steps...))
}

// is asks the page a question.
func (b *tab) is(question string) bool {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	yes, err := chromedp.Run(ctx, chromedp.Evaluate[bool](question))
	return err == nil && yes
}

// becomes waits until the answer is yes.
func (b *tab) becomes(question string) {
	b.t.Helper()
	require.Eventually(b.t, func() bool { return b.is(question) }, patience, 30*time.Millisecond, question)
}

// shows waits until an element holds a text.
func (b *tab) shows(selector, text string) {
	b.t.Helper()
	b.becomes(`(document.querySelector("` + selector + `")?.innerText ?? "").includes("` + text + `")`)
}

func TestInBrowser(t *testing.T) {
	b := openBrowser(t)
	w := newWorld(t, nil)
	id := w.autumn()
	page := w.server.URL + "/dashboard/campaigns/" + id.String()

	t.Run("list", func(t *testing.T) {
		b.t = t
		b.do(chromedp.Navigate(w.server.URL + "/dashboard"))
		b.shows("#campaigns", "Autumn offer")
		b.shows("#campaigns", "41.6%")
		w.rollup(id, kairos.ArmControl, analysis.StepOpened, 318)
		b.shows("#campaigns", "53.0%") // by itself
		b.do(chromedp.Click(chromedp.CSS("#c-" + id.String())))
		b.becomes(`location.pathname == "/dashboard/campaigns/` + id.String() + `"`)
	})

	t.Run("live", func(t *testing.T) {
		b.t = t
		b.do(chromedp.Navigate(page))
		b.shows("#progress", "1,750")
		require.True(t, b.is(`(window.before = document.querySelector("#funnel").getBoundingClientRect().top, window.kept = true)`))
		w.exec(`UPDATE notifications SET state = 'accepted', done_at = $2 WHERE id IN
		        (SELECT id FROM notifications WHERE campaign = $1 AND state = 'planned' LIMIT 100)`, id, noon)
		w.rollup(id, kairos.ArmControl, analysis.StepPaid, 12)
		w.event(kairos.Event{Kind: kairos.OfferAccepted, OccurredAt: noon.Add(20 * time.Minute), Campaign: id})
		b.shows("#progress", "1,850")
		b.shows("#funnel", "73")
		b.shows("#activity", "Accepted the offer")
		require.True(t, b.is(`window.kept === true`), "the page was not loaded again")
		require.True(t, b.is(`document.querySelector("#funnel").getBoundingClientRect().top == window.before`), "nothing jumped")
	})

	t.Run("pause", func(t *testing.T) {
		b.t = t
		b.do(chromedp.Navigate(page))
		b.do(chromedp.Click(chromedp.CSS(`[popovertarget="ask-pause"]`)))
		b.becomes(`document.querySelector("#ask-pause").matches(":popover-open")`)
		b.do(chromedp.Click(chromedp.CSS("#do-pause")))
		b.shows("#head", "Paused")
		b.shows("#head", "Resume")
		var state string
		require.NoError(t, w.pool.QueryRow(context.Background(), `SELECT state FROM campaigns WHERE id = $1`, id).Scan(&state))
		require.Equal(t, kairos.Paused, state)

		// What another does shows here, and the page stops following at the end.
		b.becomes(`document.querySelector(".live") != null`)
		w.clock.Advance(time.Minute)
		w.exec(`UPDATE campaigns SET state = 'finished', finished_at = $2 WHERE id = $1`, id, noon.Add(-8*24*time.Hour))
		b.shows("#head", "Finished")
		b.becomes(`document.querySelector(".live") == null`)
	})

	t.Run("inbox", func(t *testing.T) {
		b.t = t
		var followed, ran atomic.Int32
		shop := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/c/token":
				followed.Add(1)
			case "/ran":
				ran.Add(1)
			}
		}))
		defer shop.Close()
		b.do(chromedp.Navigate(w.server.URL + "/dashboard/inbox"))
		b.shows("main", "No mail yet")
		html := `<script>new Image().src="` + shop.URL + `/ran"</script><img src="` + shop.URL + `/o/pixel" onload="location='` + shop.URL + `/ran'">` +
			`<a style="display:block;height:800px;background:#def" href="` + shop.URL + `/c/token">Look</a>`
		require.NoError(t, smtp.SendMail(w.mail.SMTPAddr(), nil, "news@example.com", []string{"ada@example.com"},
			[]byte(strings.Replace(mailSource, "%s", html, 1))))
		b.shows(".news", "1 new")
		b.do(chromedp.Click(chromedp.CSS(".news .fresh")))
		b.shows(".mails", "ada@example.com")
		b.do(chromedp.Click(chromedp.CSS(".mails tbody a")))
		b.shows("h1", "Autumn has come")
		b.becomes(`document.readyState == "complete"`)
		require.Eventually(t, func() bool {
			b.do(chromedp.MouseClickXY(640, 600)) // inside the frame, all of it the link; browsers ignore a click soon after a frame appeared
			return followed.Load() > 0
		}, patience, 150*time.Millisecond, "the link opens")
		require.Zero(t, ran.Load(), "no script of a mail runs")
	})

	// Nothing of ours broke the policy, and the browser would have said so.
	b.t = t
	require.Empty(t, b.complaints())
	b.do(chromedp.Navigate(w.server.URL + "/dashboard"))
	require.True(t, b.is(`(document.body.setAttribute("style", "color: red"), true)`))
	require.Eventually(t, func() bool { return len(b.complaints()) > 0 }, patience, 20*time.Millisecond)
}
