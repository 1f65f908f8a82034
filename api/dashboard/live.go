package dashboard

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/a-h/templ"
)

const (
	streamWrite = 10 * time.Second // a reader that is slower is cut off and comes back
	streamBeat  = 15 * time.Second
)

// part is a piece of the campaign's page that is replaced when it changes.
type part struct {
	name string
	body templ.Component
}

func partsOf(v campaignView) []part {
	parts := []part{
		{"head", campaignHead(v)}, {"progress", progressCard(v)}, {"funnel", funnelCard(v)},
		{"returns", returnsCard(v)}, {"activity", activityCard(v)},
	}
	if v.timing != nil {
		parts = append(parts, part{"timing", timingCard(*v.timing)})
	}
	return parts
}

// live streams the parts of a campaign's page as they change (server-sent
// events, one kind per part), and "done" when nothing more will.
func (d *dashboard) live(w http.ResponseWriter, r *http.Request) {
	id, err := idOf(r)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	select {
	case d.streams <- struct{}{}:
		defer func() { <-d.streams }()
	default:
		w.Header().Set("Retry-After", "10")
		http.Error(w, "Too many live pages are open.", http.StatusServiceUnavailable)
		return
	}
	v, err := d.campaignView(r.Context(), id)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Time{}) // the server's own would end the stream
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)

	send := func(text string) bool {
		_ = control.SetWriteDeadline(time.Now().Add(streamWrite))
		if _, err := w.Write([]byte(text)); err != nil {
			return false
		}
		return control.Flush() == nil
	}
	tick, beat := time.NewTicker(d.opts.Pace), time.NewTicker(streamBeat)
	defer tick.Stop()
	defer beat.Stop()
	shown := map[string]string{}
	if r.Header.Get("Last-Event-ID") == "" {
		if html, err := render(r.Context(), campaignHead(v)); err == nil && r.URL.Query().Get("head") == digest(html) {
			shown["head"] = html // a question that is open there stays open
		}
	}
	for {
		out, err := changes(r, v, shown)
		if err != nil {
			d.opts.Log.ErrorContext(r.Context(), "render live page", "campaign", id, "error", err)
			return
		}
		if !v.live {
			send(out + "event: done\ndata:\n\n")
			return
		}
		if out != "" && !send(out) {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-beat.C:
			if d.opts.Authenticate != nil && d.visitor(r) == "" || !send(":\n\n") {
				return
			}
		case <-tick.C:
		}
		if v, err = d.campaignView(r.Context(), id); err != nil {
			if r.Context().Err() == nil {
				d.opts.Log.ErrorContext(r.Context(), "follow campaign", "campaign", id, "error", err)
			}
			return // the browser comes back
		}
	}
}

// changes renders the parts that differ from what was shown last.
func changes(r *http.Request, v campaignView, shown map[string]string) (string, error) {
	var out strings.Builder
	for _, p := range partsOf(v) {
		html, err := render(r.Context(), p.body)
		if err != nil {
			return "", fmt.Errorf("render %s: %w", p.name, err)
		}
		if shown[p.name] == html {
			continue
		}
		shown[p.name] = html
		out.WriteString("id: 1\nevent: " + p.name + "\n")
		for line := range strings.Lines(html) {
			out.WriteString("data: " + strings.TrimSuffix(line, "\n") + "\n")
		}
		out.WriteString("\n")
	}
	return out.String(), nil
}

func render(ctx context.Context, c templ.Component) (string, error) {
	var b bytes.Buffer
	if err := c.Render(ctx, &b); err != nil {
		return "", err
	}
	return strings.ReplaceAll(b.String(), "\r", "&#13;"), nil // a bare CR would end a line of the stream
}

func digest(html string) string {
	sum := sha256.Sum256([]byte(html))
	return hex.EncodeToString(sum[:8])
}

// liveAddress is where a page follows its campaign from. It says what head the
// page shows, so that it isn't replaced by the same.
func liveAddress(ctx context.Context, v campaignView) string {
	address := "/dashboard/campaigns/" + v.ID.String() + "/live"
	if html, err := render(ctx, campaignHead(v)); err == nil {
		address += "?head=" + digest(html)
	}
	return address
}
