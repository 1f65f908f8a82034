package track

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/internal/spool"
)

const urlencoded = "application/x-www-form-urlencoded"

// multipartForm returns a body and its content type.
func multipartForm(t *testing.T, fields ...string) (string, string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for i := 0; i < len(fields); i += 2 {
		require.NoError(t, w.WriteField(fields[i], fields[i+1]))
	}
	require.NoError(t, w.Close())
	return b.String(), w.FormDataContentType()
}

func TestPreferencePageChangesNothing(t *testing.T) {
	told := false
	d := open(t, func(o *Options, _ *spool.Options) {
		o.OnUnsubscribe = func(context.Context, kairos.ID, kairos.ID) error { told = true; return nil }
	})
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		r := d.do(method, d.paths()["u"]+"?action=unsubscribe&List-Unsubscribe=One-Click", "")
		require.Equal(t, 200, r.StatusCode)
		require.Equal(t, "text/html; charset=utf-8", r.Header.Get("Content-Type"))
		require.Equal(t, "no-store", r.Header.Get("Cache-Control"))
		require.Contains(t, r.Header.Get("Content-Security-Policy"), "frame-ancestors 'none'")
		require.NotContains(t, text(t, r), "You are unsubscribed")
	}
	d.empty(t)
	require.False(t, told)
}

func TestPreferences(t *testing.T) {
	multiOne, multiOneType := multipartForm(t, "List-Unsubscribe", "One-Click")
	multiPrefer, multiPreferType := multipartForm(t, "action", "prefer", "day", "mon", "day", "sun", "from", "18:00", "until", "21:00")
	const oneClick, page = `{"channel":"email","method":"one-click"}`, `{"channel":"email","method":"page"}`
	hours := func(s string) string { return `{"preferred_hours":[` + s + `]}` }
	for _, c := range []struct {
		name, body, contentType string
		status                  int
		kind, data, shows       string
	}{
		{"one click", "List-Unsubscribe=One-Click", urlencoded, 200, kairos.ContactUnsubscribed, oneClick, "You are unsubscribed"},
		{"one click, multipart", multiOne, multiOneType, 200, kairos.ContactUnsubscribed, oneClick, "You are unsubscribed"},
		{"one click, charset", "List-Unsubscribe=One-Click\r\n", urlencoded + "; charset=utf-8", 200, kairos.ContactUnsubscribed, oneClick, "You are unsubscribed"},
		{"one click, no type", "List-Unsubscribe=One-Click", "", 200, kairos.ContactUnsubscribed, oneClick, "You are unsubscribed"},
		{"button", "action=unsubscribe", urlencoded, 200, kairos.ContactUnsubscribed, page, "You are unsubscribed"},
		{"back", "action=resubscribe", urlencoded, 200, kairos.ContactResubscribed, page, "subscribed again"},
		{"hours", "action=prefer&day=mon&day=tue&day=mon&from=18:00&until=21:00", urlencoded, 200, kairos.ContactPreferred, hours(`{"days":["mon","tue"],"from":"18:00","until":"21:00"}`), "Saved"},
		{"hours, multipart", multiPrefer, multiPreferType, 200, kairos.ContactPreferred, hours(`{"days":["mon","sun"],"from":"18:00","until":"21:00"}`), "Saved"},
		{"hours of every day", "action=prefer&from=22:00&until=02:00", urlencoded, 200, kairos.ContactPreferred, hours(`{"from":"22:00","until":"02:00"}`), "Saved"},
		{"days alone", "action=prefer&day=sat&from=&until=", urlencoded, 200, kairos.ContactPreferred, hours(`{"days":["sat"],"from":"00:00","until":"00:00"}`), "Saved"},
		{"any time", "action=prefer&from=&until=", urlencoded, 200, kairos.ContactPreferred, hours(``), "no preferred hours"},
		{"half a span", "action=prefer&day=sat&from=18:00", urlencoded, 400, "", "", "both the first and the last hour"},
		{"unknown day", "action=prefer&day=%3Cscript%3E&from=18:00&until=19:00", urlencoded, 400, "", "", "days from the list"},
		{"unknown hour", "action=prefer&from=25:00&until=19:00", urlencoded, 400, "", "", "hours from the lists"},
		{"no action", "", urlencoded, 400, "", "", "one of the buttons"},
		{"unknown action", "action=erase", urlencoded, 400, "", "", "one of the buttons"},
		{"another word", "List-Unsubscribe=Yes", urlencoded, 400, "", "", "one of the buttons"},
		{"broken form", "action=%zz", urlencoded, 400, "", "", "could not be read"},
		{"broken multipart", multiOne[:20], multiOneType, 400, "", "", "could not be read"},
		{"multipart without boundary", multiOne, "multipart/form-data", 400, "", "", "could not be read"},
		{"long form", "action=unsubscribe&x=" + strings.Repeat("x", maxForm), urlencoded, 413, "", "", "16 KiB"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var told []kairos.ID
			d := open(t, func(o *Options, _ *spool.Options) {
				o.OnUnsubscribe = func(_ context.Context, c, n kairos.ID) error { told = append(told, c, n); return nil }
			})
			r := d.do(http.MethodPost, d.paths()["u"]+"?action=resubscribe", c.body, "Content-Type", c.contentType)
			body := text(t, r)
			require.Equal(t, c.status, r.StatusCode, body)
			require.Contains(t, body, c.shows)
			require.NotContains(t, body, "<script>")
			if c.kind == "" {
				d.empty(t)
				require.Empty(t, told)
				return
			}
			require.JSONEq(t, c.data, string(d.one(t, c.kind).Event.Data))
			if c.kind == kairos.ContactUnsubscribed {
				require.Equal(t, []kairos.ID{campaign, notification}, told)
			} else {
				require.Empty(t, told)
			}
		})
	}
}

// The form comes back as it was filled in.
func TestPreferencesKeepTheForm(t *testing.T) {
	d := open(t)
	body := text(t, d.do(http.MethodPost, d.paths()["u"], "action=prefer&day=sat&from=18:00", "Content-Type", urlencoded))
	require.Contains(t, body, `value="sat" checked`)
	require.Contains(t, body, `<option selected>18:00`)
	require.NotContains(t, body, `value="mon" checked`)
}

// The database may be away: the unsubscription is on disk, and stands.
func TestUnsubscribeAtOnceFails(t *testing.T) {
	var log bytes.Buffer
	d := open(t, func(o *Options, _ *spool.Options) {
		o.Logger = slog.New(slog.NewTextHandler(&log, nil))
		o.OnUnsubscribe = func(ctx context.Context, _, _ kairos.ID) error {
			_, bounded := ctx.Deadline()
			require.True(t, bounded)
			return errors.New("no database")
		}
	})
	path := d.paths()["u"]
	r := d.do(http.MethodPost, path, "List-Unsubscribe=One-Click", "Content-Type", urlencoded)
	require.Equal(t, 200, r.StatusCode)
	d.one(t, kairos.ContactUnsubscribed)
	require.Contains(t, log.String(), "no database")
	require.NotContains(t, log.String(), strings.TrimPrefix(path, "/u/"))
}
