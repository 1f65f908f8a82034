package main

import (
	"bufio"
	"context"
	"encoding/json"
	"html"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos/delivery/deliverytest"
	"kairos/internal/devstack"
)

// letter is a mail as its reader sees it.
type letter struct {
	to          string
	number      int // of the person: p7@town.example is 7
	pixel       string
	links       []string
	unsubscribe string // of the header List-Unsubscribe
}

// letters reads what the sink kept.
func letters(t testing.TB, sink *deliverytest.SMTPSink) (all []letter) {
	t.Helper()
	reader, err := devstack.StartMail(devstack.MailOptions{})
	require.NoError(t, err)
	defer func() { require.NoError(t, reader.Close()) }()
	for _, kept := range sink.Kept() {
		m := reader.Deliver(kept.From, kept.To, kept.Raw)
		require.Empty(t, m.Defect)
		l := letter{to: strings.ToLower(m.To[0]), unsubscribe: strings.Trim(m.Header.Get("List-Unsubscribe"), "<>")}
		require.Equal(t, "List-Unsubscribe=One-Click", m.Header.Get("List-Unsubscribe-Post"))
		for _, found := range linkForm.FindAllStringSubmatch(m.HTML, -1) {
			switch u := html.UnescapeString(found[1]); found[2] {
			case "o":
				l.pixel = u
			case "c":
				l.links = append(l.links, u)
			}
		}
		require.NotEmpty(t, l.pixel)
		require.Len(t, l.links, 3)
		all = append(all, l)
	}
	return all
}

// visitors are browsers: they keep connections and follow no redirect.
func visitors() *http.Client {
	return &http.Client{
		Timeout:       30 * time.Second,
		Transport:     &http.Transport{MaxIdleConnsPerHost: 64},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// visit sends one request of a browser, or of what its agent says, and returns
// the answer with its body read.
func visit(ctx context.Context, c *http.Client, method, to, contentType, body, agent string) (status int, header http.Header, err error) {
	req, err := http.NewRequestWithContext(ctx, method, to, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("User-Agent", agent)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := c.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, resp.Header, err
}

// person acts like somebody with a browser; every answer is what it should be.
type person struct {
	t    testing.TB
	http *http.Client
	base string
}

func (p *person) fetch(to string) {
	p.t.Helper()
	status, header, err := visit(p.t.Context(), p.http, http.MethodGet, to, "", "", agentPerson)
	require.NoError(p.t, err)
	require.Equal(p.t, 200, status)
	require.Equal(p.t, "image/gif", header.Get("Content-Type"))
}

// click follows a link and returns the token of the landing page.
func (p *person) click(to, agent string) string {
	p.t.Helper()
	status, header, err := visit(p.t.Context(), p.http, http.MethodGet, to, "", "", agent)
	require.NoError(p.t, err)
	require.Equal(p.t, 302, status)
	u, err := url.Parse(header.Get("Location"))
	require.NoError(p.t, err)
	require.Equal(p.t, "shop.example.com", u.Host)
	require.NotEmpty(p.t, u.Query().Get("kt"))
	return u.Query().Get("kt")
}

func (p *person) say(token, body string) {
	p.t.Helper()
	status, _, err := visit(p.t.Context(), p.http, http.MethodPost, p.base+"/t/"+token, "application/json", body, agentPerson)
	require.NoError(p.t, err)
	require.Equal(p.t, 202, status)
}

// unsubscribe is RFC 8058's one click.
func (p *person) unsubscribe(to string) {
	p.t.Helper()
	status, _, err := visit(p.t.Context(), p.http, http.MethodPost, to, "application/x-www-form-urlencoded", "List-Unsubscribe=One-Click", agentPerson)
	require.NoError(p.t, err)
	require.Equal(p.t, 200, status)
}

// listener follows the live stream of events.
type listener struct {
	mu     sync.Mutex
	events []streamed
	cancel context.CancelFunc
	done   chan struct{}
}

type streamed struct {
	ID           string `json:"id"`
	Kind         string `json:"kind"`
	Notification string `json:"notification"`
	Cursor       string `json:"cursor"`
}

// hear opens the stream behind a cursor ("" begins now) and returns when the
// server has answered.
func (w *world) hear(query, lastEventID string) *listener {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.api.Server+"/v1/events/stream?"+query, nil)
	require.NoError(w.t, err)
	req.Header.Set("Authorization", "Bearer "+w.api.APIKey)
	if lastEventID != "" {
		req.Header.Set("Last-Event-ID", lastEventID)
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(w.t, err)
	require.Equal(w.t, 200, resp.StatusCode)
	require.Equal(w.t, "text/event-stream", resp.Header.Get("Content-Type"))
	l := &listener{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(l.done)
		defer func() { _ = resp.Body.Close() }()
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				var e streamed
				if json.Unmarshal([]byte(data), &e) == nil {
					l.mu.Lock()
					l.events = append(l.events, e)
					l.mu.Unlock()
				}
			}
		}
	}()
	w.t.Cleanup(l.stop)
	return l
}

func (l *listener) stop() {
	l.cancel()
	<-l.done
}

// heard returns the events so far.
func (l *listener) heard() []streamed {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]streamed(nil), l.events...)
}
