package track

import (
	"bytes"
	"context"
	"encoding/json"
	"image/gif"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/internal/spool"
	"kairos/internal/token"
)

var (
	campaign     = kairos.MustID("0193f2a0-0000-7000-8000-000000000001")
	notification = kairos.MustID("0193f2a0-0000-7000-8000-000000000002")
	noon         = time.Date(2026, 11, 20, 12, 0, 0, 123456789, time.UTC)
)

const destination = "https://shop.example/autumn?utm_source=kairos&name=Ann#top"

// door is a collector on a real spool.
type door struct {
	*Collector
	spool *spool.Spool
	ring  *token.Keyring
	clock *kairos.ManualClock
}

func open(t testing.TB, change ...func(*Options, *spool.Options)) *door {
	t.Helper()
	ring, err := token.ParseKeyring("1:00112233445566778899aabbccddeeff")
	require.NoError(t, err)
	// Patience is long here, so that a slow disk below the tests changes nothing.
	o, so := Options{Keyring: ring, Patience: 10 * time.Second, LongPatience: 10 * time.Second, Wait: 10 * time.Second}, spool.Options{Dir: t.TempDir()}
	d := &door{ring: ring, clock: kairos.NewManualClock(noon)}
	o.Clock = d.clock
	for _, f := range change {
		f(&o, &so)
	}
	d.spool, err = spool.Open(so)
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.spool.Close() })
	o.Spool = d.spool
	d.Collector, err = New(o)
	require.NoError(t, err)
	return d
}

func (d *door) token(p token.Purpose) string {
	c := token.Claims{Purpose: p, Campaign: campaign, Notification: notification}
	if p == token.PurposeClick {
		c.Link, c.Destination = 3, destination
	}
	return d.ring.Mint(c)
}

// paths are one valid path of each room.
func (d *door) paths() map[string]string {
	return map[string]string{
		"o": "/o/" + d.token(token.PurposeOpen) + ".gif", "c": "/c/" + d.token(token.PurposeClick),
		"u": "/u/" + d.token(token.PurposeUnsubscribe), "t": "/t/" + d.token(token.PurposeTrack),
	}
}

func (d *door) do(method, path, body string, header ...string) *http.Response {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	return w.Result()
}

func text(t testing.TB, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	return string(b)
}

// hits takes everything out of the spool, as a shipper does.
func (d *door) hits(t testing.TB) (hits []kairos.Hit) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for d.spool.Stats().Segments > 0 {
		d.spool.Seal()
		seg, err := d.spool.Next(ctx)
		require.NoError(t, err)
		require.NoError(t, seg.Records(func(id kairos.ID, payload []byte) error {
			h, err := spool.ParseHit(id, payload)
			require.NoError(t, err)
			h.Event.Data = bytes.Clone(h.Event.Data)
			hits = append(hits, h)
			return nil
		}))
		require.NoError(t, seg.Remove())
	}
	return hits
}

// one takes the only hit out of the spool and checks what all hits share.
func (d *door) one(t testing.TB, kind string) kairos.Hit {
	t.Helper()
	hits := d.hits(t)
	require.Len(t, hits, 1)
	e := hits[0].Event
	require.Equal(t, kind, e.Kind)
	require.Equal(t, campaign, e.Campaign)
	require.Equal(t, notification, e.Notification)
	require.Equal(t, d.clock.Now(), e.OccurredAt)
	require.EqualValues(t, 1, e.Version)
	require.False(t, e.ID.IsZero())
	return hits[0]
}

func (d *door) empty(t testing.TB) {
	t.Helper()
	require.Zero(t, d.spool.Stats().Appended)
	require.Zero(t, d.spool.Stats().Failed)
}

func TestOpen(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		for _, suffix := range []string{".gif", ""} {
			t.Run(method+suffix, func(t *testing.T) {
				d := open(t)
				r := d.do(method, "/o/"+d.token(token.PurposeOpen)+suffix, "", "User-Agent", "Thunderbird")
				require.Equal(t, 200, r.StatusCode)
				require.Equal(t, "image/gif", r.Header.Get("Content-Type"))
				require.Contains(t, r.Header.Get("Cache-Control"), "no-store")
				require.EqualValues(t, len(pixel), r.ContentLength)
				body := text(t, r)
				data := d.one(t, kairos.NotificationOpened).Event.Data
				if method == http.MethodHead {
					require.Empty(t, body)
					require.JSONEq(t, `{"machine":"head"}`, string(data))
					return
				}
				require.Empty(t, data)
				img, err := gif.Decode(strings.NewReader(body))
				require.NoError(t, err)
				require.Equal(t, 1, img.Bounds().Dx()*img.Bounds().Dy())
				_, _, _, alpha := img.At(0, 0).RGBA()
				require.Zero(t, alpha, "the pixel is transparent")
			})
		}
	}
}

func TestClick(t *testing.T) {
	d := open(t)
	r := d.do(http.MethodGet, d.paths()["c"]+"?url=https://evil.example/&next=//evil.example", "")
	require.Equal(t, 302, r.StatusCode)
	require.Equal(t, "no-referrer", r.Header.Get("Referrer-Policy"))
	require.Contains(t, r.Header.Get("Cache-Control"), "no-store")
	to, err := url.Parse(r.Header.Get("Location"))
	require.NoError(t, err)
	kt := to.Query().Get("kt")
	require.Equal(t, "https://shop.example/autumn?utm_source=kairos&name=Ann&kt="+kt+"#top", to.String())
	require.JSONEq(t, `{"link":3,"url":"https://shop.example/autumn"}`, string(d.one(t, kairos.NotificationClicked).Event.Data))

	for range 3 { // the page's token serves for the whole visit, and the click's own does too
		for _, tok := range []string{kt, d.token(token.PurposeClick)} {
			require.Equal(t, 202, d.do(http.MethodPost, "/t/"+tok, `{"kind":"page.viewed"}`).StatusCode)
			d.one(t, kairos.PageViewed)
		}
	}
	gotCampaign, gotNotification, err := d.OpenToken(kt)
	require.NoError(t, err)
	require.Equal(t, campaign, gotCampaign)
	require.Equal(t, notification, gotNotification)
	_, _, err = d.OpenToken(d.token(token.PurposeOpen))
	require.ErrorIs(t, err, kairos.ErrNotFound)
}

func TestLocation(t *testing.T) {
	for _, c := range []struct{ destination, want, url string }{
		{"https://a.example", "https://a.example?kt=KT", "https://a.example"},
		{"HTTPS://a.example/", "HTTPS://a.example/?kt=KT", "HTTPS://a.example/"},
		{"http://a.example/p", "http://a.example/p?kt=KT", "http://a.example/p"},
		{"https://a.example/p?", "https://a.example/p?kt=KT", "https://a.example/p"},
		{"https://a.example/p?x=1", "https://a.example/p?x=1&kt=KT", "https://a.example/p"},
		{"https://a.example/p?x=1&", "https://a.example/p?x=1&kt=KT", "https://a.example/p"},
		{"https://a.example/p#f", "https://a.example/p?kt=KT#f", "https://a.example/p"},
		{"https://a.example/#/app?x=1", "https://a.example/?kt=KT#/app?x=1", "https://a.example/"},
		{"https://a.example/p?x=%20y+z&q=a;b", "https://a.example/p?x=%20y+z&q=a;b&kt=KT", "https://a.example/p"},
		{"https://a.example/größe?ä=1", "https://a.example/gr%C3%B6%C3%9Fe?%C3%A4=1&kt=KT", "https://a.example/größe"},
		{"https://a.example/a\r\nSet-Cookie: x", "https://a.example/a%0D%0ASet-Cookie:%20x?kt=KT", "https://a.example/a\r\nSet-Cookie: x"},
	} {
		t.Run(c.destination, func(t *testing.T) {
			d := open(t)
			claims := token.Claims{Purpose: token.PurposeClick, Campaign: campaign, Notification: notification, Link: 1, Destination: c.destination}
			r := d.do(http.MethodGet, "/c/"+d.ring.Mint(claims), "")
			require.Equal(t, 302, r.StatusCode)
			require.Equal(t, strings.Replace(c.want, "KT", d.ring.Mint(claims.Track()), 1), r.Header.Get("Location"))
			var data struct{ URL string }
			require.NoError(t, json.Unmarshal(d.one(t, kairos.NotificationClicked).Event.Data, &data))
			require.Equal(t, c.url, data.URL)
		})
	}
}

// Everything that is not ours gets the same answer and leaves no trace.
func TestNotOurs(t *testing.T) {
	d := open(t)
	good := d.token(token.PurposeClick)
	flipped := []byte(good)
	flipped[40] ^= 1
	nowhere := func(destination string) string {
		return d.ring.Mint(token.Claims{Purpose: token.PurposeClick, Destination: destination})
	}
	other, err := token.ParseKeyring("1:ffeeddccbbaa99887766554433221100")
	require.NoError(t, err)
	paths := []string{
		"/", "/x", "/c", "/c/", "/o/", "/o/.gif", "/u/", "/t/", "/k.jsx", "/favicon.ico", "/c/" + good + "/", "/c/" + good + ".gif",
		"/c/" + string(flipped), "/c/" + good[:len(good)-1], "/c/%00", "/c/" + strings.Repeat("A", 5000), "/x/" + good, "/cc/" + good, "//c/" + good,
		"/c/" + nowhere(""), "/c/" + nowhere("javascript:alert(1)"), "/c/" + nowhere("//evil.example"), "/c/" + nowhere("https://"), "/c/" + nowhere("data://x"),
		"/c/" + other.Mint(token.Claims{Purpose: token.PurposeClick, Destination: destination}),
	}
	for room, purposes := range map[string][]token.Purpose{
		"o": {token.PurposeClick, token.PurposeUnsubscribe, token.PurposeTrack}, "c": {token.PurposeOpen, token.PurposeUnsubscribe, token.PurposeTrack},
		"u": {token.PurposeOpen, token.PurposeClick, token.PurposeTrack}, "t": {token.PurposeOpen, token.PurposeUnsubscribe},
	} {
		for _, p := range purposes {
			paths = append(paths, "/"+room+"/"+d.token(p))
		}
	}
	for _, path := range paths {
		methods := []string{http.MethodGet}
		switch {
		case strings.HasPrefix(path, "/t/"):
			methods = []string{http.MethodPost}
		case strings.HasPrefix(path, "/u/"):
			methods = []string{http.MethodGet, http.MethodPost}
		}
		for _, method := range methods {
			r := d.do(method, path, `{"kind":"page.viewed"}`)
			require.Equal(t, 404, r.StatusCode, path)
			require.Equal(t, nothing, text(t, r), path)
			require.Equal(t, "application/problem+json", r.Header.Get("Content-Type"), path)
			require.Empty(t, r.Header.Get("Location"), path)
			require.Equal(t, strings.HasPrefix(path, "/t/"), r.Header.Get("Access-Control-Allow-Origin") == "*", path)
		}
	}
	d.empty(t)
}

func TestMethods(t *testing.T) {
	d := open(t)
	allowed := map[string]string{"o": "GET, HEAD", "c": "GET, HEAD", "u": "GET, HEAD, POST", "t": "POST, OPTIONS"}
	paths := d.paths()
	paths["/k.js"], allowed["/k.js"] = "/k.js", "GET, HEAD"
	paths["ws"], allowed["ws"] = "/t/ws", "GET"
	for room, path := range paths {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"} {
			if strings.Contains(allowed[room], method) {
				continue
			}
			r := d.do(method, path, "")
			require.Equal(t, 405, r.StatusCode, "%s %s", method, room)
			require.Equal(t, allowed[room], r.Header.Get("Allow"), "%s %s", method, room)
			require.Equal(t, "application/problem+json", r.Header.Get("Content-Type"))
			require.Equal(t, room == "t" || room == "ws", r.Header.Get("Access-Control-Allow-Origin") == "*")
		}
	}
	d.empty(t)
}

// Neither the address of the caller nor anything of the query is kept, and no
// log line holds a token.
func TestNothingPersonalKept(t *testing.T) {
	d := open(t)
	for room, path := range d.paths() {
		method, body := http.MethodGet, ""
		switch room {
		case "t":
			method, body = http.MethodPost, `{"kind":"page.viewed"}`
		case "u":
			method, body = http.MethodPost, `List-Unsubscribe=One-Click`
		}
		r := d.do(method, path+"?secret=s3cr3t", body, "X-Forwarded-For", "203.0.113.77", "Referer", "https://r3f3r.example/", "Cookie", "a=c00k1e", "User-Agent", "ag3nt")
		require.Less(t, r.StatusCode, 400)
	}
	hits := d.hits(t)
	require.Len(t, hits, 4)
	for _, h := range hits {
		raw, err := json.Marshal(h)
		require.NoError(t, err)
		for _, s := range []string{"s3cr3t", "203.0.113", "192.0.2", "r3f3r", "c00k1e", "ag3nt", "Ann"} {
			require.NotContains(t, string(raw), s)
		}
	}
}

func TestPublicURLWithPath(t *testing.T) {
	for _, base := range []string{"https://shop.example/go", "https://shop.example/go/", "https://shop.example/a/b"} {
		d := open(t, func(o *Options, _ *spool.Options) { o.PublicURL = base })
		u, err := url.Parse(base)
		require.NoError(t, err)
		prefix := strings.TrimRight(u.Path, "/")
		for _, p := range []string{prefix, ""} {
			require.Equal(t, 200, d.do(http.MethodGet, p+d.paths()["o"], "").StatusCode)
			require.Equal(t, 302, d.do(http.MethodGet, p+d.paths()["c"], "").StatusCode)
			require.Equal(t, 200, d.do(http.MethodGet, p+"/k.js", "").StatusCode)
		}
		for _, path := range d.paths() {
			require.True(t, d.Serves(path))
			require.True(t, d.Serves(prefix+path))
			require.True(t, Serves(path))
			require.False(t, Serves(prefix+path))
		}
		for _, path := range []string{"", "/", "/k", "/v1/contacts", "/dashboard", "/o", prefix, prefix + "/", prefix + "x/k.js", "/x" + prefix + "/k.js"} {
			require.False(t, d.Serves(path), path)
		}
		require.Equal(t, 404, d.do(http.MethodGet, prefix+"x"+d.paths()["o"], "").StatusCode)
		require.Equal(t, 404, d.do(http.MethodGet, prefix, "").StatusCode)
	}
}

func TestSnippet(t *testing.T) {
	r := open(t).do(http.MethodGet, "/k.js", "")
	require.Equal(t, 200, r.StatusCode)
	require.Equal(t, "text/javascript; charset=utf-8", r.Header.Get("Content-Type"))
	require.Equal(t, "*", r.Header.Get("Access-Control-Allow-Origin"))
	require.Equal(t, "cross-origin", r.Header.Get("Cross-Origin-Resource-Policy"))
	require.Contains(t, text(t, r), "page.viewed")
}

func TestOptions(t *testing.T) {
	ring, err := token.ParseKeyring("1:00112233445566778899aabbccddeeff")
	require.NoError(t, err)
	s := open(t).spool
	for field, o := range map[string]Options{
		"track.keyring": {Spool: s}, "track.spool": {Keyring: ring}, "track.public_url": {Keyring: ring, Spool: s, PublicURL: "http://a b\x00"},
		"track.patience": {Keyring: ring, Spool: s, Patience: -1}, "track.sockets": {Keyring: ring, Spool: s, Sockets: -1},
	} {
		_, err := New(o)
		var wrong *kairos.FieldError
		require.ErrorAs(t, err, &wrong)
		require.Equal(t, field, wrong.Field)
	}
}
