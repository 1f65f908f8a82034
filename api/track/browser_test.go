package track

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/internal/spool"
	"kairos/internal/token"
)

// browser starts a Chromium of its own for the test.
func browser(t *testing.T) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("chromium is not in PATH: install the package chromium")
	}
	alloc, stop := chromedp.NewExecAllocator(t.Context(),
		chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("headless", true), chromedp.Flag("no-sandbox", true), chromedp.Flag("disable-gpu", true),
		chromedp.Flag("disable-quic", true), chromedp.Flag("no-first-run", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.UserAgent("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"),
		chromedp.WSURLReadTimeout(time.Minute),
	)
	ctx, cancel := chromedp.NewContext(alloc)
	ctx, late := context.WithTimeout(ctx, 90*time.Second)
	t.Cleanup(func() { late(); cancel(); stop() })
	return ctx
}

// landing is a site of another origin whose pages hold the snippet.
func landing(t *testing.T, script string) string {
	t.Helper()
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/favicon.ico" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprintf(w, `<!doctype html><title>Shop</title><h1>%s</h1><a id="next" href="/thanks">next</a><script src=%q></script>`, "Autumn", script)
	}))
	t.Cleanup(site.Close)
	return strings.Replace(site.URL, "127.0.0.1", "localhost", 1)
}

// await waits until n hits are on disk.
func await(d *door, n uint64) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		for d.spool.Stats().Appended < n {
			select {
			case <-ctx.Done():
				return fmt.Errorf("wait for hit %d: %w", n, ctx.Err())
			case <-time.After(5 * time.Millisecond):
			}
		}
		return nil
	})
}

// into keeps what an action returns, so that it can be a step among others.
func into[T any](dst *T, a chromedp.Action[T]) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) (err error) {
		*dst, err = a(ctx, t)
		return err
	})
}

func track(dst *bool, call string) chromedp.Action[chromedp.Void] {
	return into(dst, chromedp.Evaluate[bool]("kairos.track("+call+")", chromedp.EvalAwaitPromise))
}

func colours(scheme string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return err
	})
}

// A person clicks in a mail, sees the page, pays, and goes on to another page.
func TestJourneyInBrowser(t *testing.T) {
	for _, prefix := range []string{"", "/go"} {
		t.Run("prefix "+prefix, func(t *testing.T) {
			t.Parallel()
			ctx := browser(t)
			d := open(t, func(o *Options, _ *spool.Options) { o.PublicURL = "https://shop.example" + prefix })
			server := httptest.NewServer(d)
			t.Cleanup(server.Close)
			shop := landing(t, server.URL+prefix+"/k.js")
			click := d.ring.Mint(token.Claims{Purpose: token.PurposeClick, Campaign: campaign, Notification: notification, Link: 1, Destination: shop + "/autumn?a=%20b&flag#top"})

			var first, second, stored string
			var paid, refused, later bool
			require.NoError(t, chromedp.Do(ctx,
				chromedp.Navigate(server.URL+prefix+"/c/"+click), await(d, 2),
				into(&first, chromedp.Location()),
				track(&paid, `'payment.received',{amount:'12.50',currency:'EUR',key:'o1'}`),
				track(&refused, `'contact.erased'`),
				into(&stored, chromedp.Evaluate[string](`sessionStorage.getItem('kairos.kt')`)),
				chromedp.Click(chromedp.CSS("#next")), await(d, 4),
				track(&later, `'cta.clicked',{button:'top',data:{n:1}}`),
				into(&second, chromedp.Location()),
			))
			require.Equal(t, shop+"/autumn?a=%20b&flag#top", first, "kt is gone, the rest is as it was")
			require.Equal(t, shop+"/thanks", second)
			require.True(t, paid)
			require.False(t, refused)
			require.True(t, later)
			_, err := d.ring.Open(token.PurposeTrack, stored)
			require.NoError(t, err)

			hits := d.hits(t)
			want := []struct{ kind, key, data string }{
				{kairos.NotificationClicked, "", `{"link":1,"url":"` + shop + `/autumn"}`},
				{kairos.PageViewed, "", `{"path":"/autumn"}`},
				{kairos.PaymentReceived, "o1", `{"amount":"12.50","currency":"EUR"}`},
				{kairos.PageViewed, "", `{"path":"/thanks"}`},
				{kairos.CTAClicked, "", `{"button":"top","n":1}`},
			}
			require.Len(t, hits, len(want))
			for i, w := range want {
				e := hits[i].Event
				require.Equal(t, w.kind, e.Kind)
				require.Equal(t, w.key, e.Key)
				require.JSONEq(t, w.data, string(e.Data))
				require.Equal(t, notification, e.Notification)
			}
		})
	}
}

// Who comes without a link from a mail is not reported.
func TestVisitorInBrowser(t *testing.T) {
	t.Parallel()
	ctx := browser(t)
	d := open(t)
	server := httptest.NewServer(d)
	t.Cleanup(server.Close)
	var sent bool
	require.NoError(t, chromedp.Do(ctx,
		chromedp.Navigate(landing(t, server.URL+"/k.js")+"/autumn?a=1"),
		track(&sent, `'cta.clicked'`),
	))
	require.False(t, sent)
	d.empty(t)
}

// While the collector can't store, the snippet tries again by itself what has a
// key, and nothing else.
func TestSnippetTriesAgain(t *testing.T) {
	t.Parallel()
	ctx := browser(t)
	d := open(t)
	var posts atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && posts.Add(1) <= 3 {
			allowOrigins(w.Header())
			unavailable(w, "Later.")
			return
		}
		d.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	var plain, keyed bool
	require.NoError(t, chromedp.Do(ctx,
		chromedp.Navigate(landing(t, server.URL+"/k.js")+"/?kt="+d.token(token.PurposeTrack)),
		track(&plain, `'cta.clicked'`), track(&keyed, `'offer.accepted',{key:'k1'}`),
	))
	require.False(t, plain)
	require.True(t, keyed)
	require.EqualValues(t, 4, posts.Load(), "the view, the click, the offer twice")
	require.Equal(t, "k1", d.one(t, kairos.OfferAccepted).Event.Key)
}

// The buttons work without any script, and the page fits the window.
func TestPreferencesInBrowser(t *testing.T) {
	t.Parallel()
	ctx := browser(t)
	d := open(t)
	server := httptest.NewServer(d)
	t.Cleanup(server.Close)
	url := server.URL + d.paths()["u"]

	for _, width := range []int64{1280, 390, 320} {
		for _, scheme := range []string{"light", "dark"} {
			var shot []byte
			var overflow int
			require.NoError(t, chromedp.Do(ctx,
				chromedp.EmulateViewport(width, 844),
				colours(scheme),
				chromedp.Navigate(url), chromedp.WaitVisible(chromedp.CSS(`button[value=unsubscribe]`)),
				into(&overflow, chromedp.Evaluate[int](`document.documentElement.scrollWidth - innerWidth`)),
				into(&shot, chromedp.FullScreenshot(100)),
			))
			require.LessOrEqual(t, overflow, 0, "nothing is cut at %d px", width)
			keepShot(t, fmt.Sprintf("preferences-%d-%s.png", width, scheme), shot)
		}
	}
	d.empty(t)

	var said, back, saved, wrong string
	var shots [3][]byte
	require.NoError(t, chromedp.Do(ctx,
		chromedp.Click(chromedp.CSS(`button[value=unsubscribe]`)), chromedp.WaitVisible(chromedp.CSS(`button[value=resubscribe]`)),
		into(&said, chromedp.Text(chromedp.CSS(`[role=status]`))), into(&shots[0], chromedp.FullScreenshot(100)),
		chromedp.Click(chromedp.CSS(`button[value=resubscribe]`)), chromedp.WaitVisible(chromedp.CSS(`button[value=unsubscribe]`)), into(&back, chromedp.Text(chromedp.CSS(`[role=status]`))),
		chromedp.Click(chromedp.CSS(`input[value=sat]`)), chromedp.SetValue(chromedp.CSS(`select[name=from]`), "18:00"),
		chromedp.Click(chromedp.CSS(`button[value=prefer]`)), chromedp.WaitVisible(chromedp.CSS(`[role=alert]`)),
		into(&wrong, chromedp.Text(chromedp.CSS(`[role=alert]`))), into(&shots[1], chromedp.FullScreenshot(100)),
		chromedp.SetValue(chromedp.CSS(`select[name=until]`), "21:00"),
		chromedp.Click(chromedp.CSS(`button[value=prefer]`)), chromedp.WaitVisible(chromedp.CSS(`[role=status]`)),
		into(&saved, chromedp.Text(chromedp.CSS(`[role=status]`))), into(&shots[2], chromedp.FullScreenshot(100)),
	))
	for i, name := range []string{"unsubscribed", "error", "saved"} {
		keepShot(t, "preferences-"+name+".png", shots[i])
	}
	require.Contains(t, said, "You are unsubscribed")
	require.Contains(t, back, "subscribed again")
	require.Contains(t, wrong, "both the first and the last hour")
	require.Contains(t, saved, "Saved")

	hits := d.hits(t)
	require.Len(t, hits, 3)
	require.Equal(t, kairos.ContactUnsubscribed, hits[0].Event.Kind)
	require.JSONEq(t, `{"channel":"email","method":"page"}`, string(hits[0].Event.Data))
	require.Equal(t, kairos.ContactResubscribed, hits[1].Event.Kind)
	require.Equal(t, kairos.ContactPreferred, hits[2].Event.Kind)
	require.JSONEq(t, `{"preferred_hours":[{"days":["sat"],"from":"18:00","until":"21:00"}]}`, string(hits[2].Event.Data))
}

// keepShot writes a screenshot where KAIROS_SHOTS says, for a person to look at.
func keepShot(t *testing.T, name string, png []byte) {
	t.Helper()
	if dir := os.Getenv("KAIROS_SHOTS"); dir != "" {
		require.NoError(t, os.WriteFile(dir+"/"+name, png, 0o600))
	}
}
