package main

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos/delivery/deliverytest"
)

// tells reports the first secret that a text holds, with what stands around it.
func tells(text string, secrets map[string]string) string {
	for name, s := range secrets {
		if i := strings.Index(text, s); i >= 0 {
			return fmt.Sprintf("%s, in ...%s...", name, text[max(0, i-160):min(len(text), i+len(s)+40)])
		}
	}
	return ""
}

// TestCanariesOfAProcess: every secret a process is given is of a kind that is
// found again, and everything goes wrong that can: providers that refuse,
// bounce and break off, Postgres and Redis away. Neither the log at the level
// debug nor the metrics hold a secret or an address.
func TestCanariesOfAProcess(t *testing.T) {
	const people = 30
	grid, err := deliverytest.NewSendGrid(deliverytest.SendGridOptions{APIKey: "SG.another", Seed: 1})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, grid.Close()) })
	w, sink := newSMTPWorld(t, deliverytest.SinkOptions{})
	secrets := map[string]string{
		"SendGrid's key": "SG.canarygrid", "the SMTP password": "canarysmtp", "the root key": strings.Repeat("c4", 32),
		"the API key": w.api.APIKey[strings.LastIndexByte(w.api.APIKey, '_')+1:],
		"an address":  "town.example", "a name": "Canarybird",
	}
	u, err := url.Parse(w.database)
	require.NoError(t, err)
	if password, ok := u.User.Password(); ok {
		secrets["the database's password"] = password
	}
	w.env["KAIROS_LOG_LEVEL"] = "debug"
	w.env["KAIROS_SECRET"] = "1:" + secrets["the root key"]
	w.env["KAIROS_EMAIL_PROVIDER"] = "smtp,sendgrid"
	w.env["KAIROS_SMTP_URL"] = "smtp://user:canarysmtp@" + sink.Addr() + "?tls=off"
	w.env["KAIROS_SENDGRID_API_KEY"], w.env["KAIROS_SENDGRID_URL"] = "SG.canarygrid", grid.URL()
	p := w.serve(strings.Join(roles, ","))
	w.audience(people)
	_, err = w.pool.Exec(t.Context(), `UPDATE contacts SET first_name = 'Canarybird'`)
	require.NoError(t, err)
	id := w.launch(nil)
	eventually(t, time.Minute, func() string {
		if w.count(`SELECT count(*) FROM attempts`) == 0 {
			return "no provider was tried"
		}
		return ""
	})
	// The relay answers with the address it was given, as relays do.
	w.env["KAIROS_SMTP_URL"] = sink.URL()
	sink.SetFaults(
		deliverytest.Fault{To: address0(1), At: deliverytest.AtRcpt, Times: 1, Reply: "550 5.1.1 <" + address0(1) + ">: no such user"},
		deliverytest.Fault{To: address0(2), At: deliverytest.AtRcpt, Times: 1, Reply: "451 4.7.1 <" + address0(2) + ">: come back later"},
		deliverytest.Fault{To: address0(3), At: deliverytest.AtDot, Times: 1, Reply: "554 5.7.1 message for " + address0(3) + " refused"},
	)
	p2 := w.serve("delivery")
	_, err = w.pool.Exec(t.Context(), `UPDATE batches SET slot = now() WHERE state = 'planned' AND campaign = $1`, id)
	require.NoError(t, err)
	require.Contains(t, metricsOf(t, p.url), "kairos_http_request_duration_seconds")
	eventually(t, 90*time.Second, func() string {
		if n := w.count(`SELECT count(*) FROM attempts WHERE state = 'rejected_perm'`); n == 0 {
			return "nobody was refused"
		}
		return ""
	})
	require.Empty(t, tells(metricsOf(t, p.url)+metricsOf(t, p2.url), secrets))
	var detail string
	require.NoError(t, w.pool.QueryRow(t.Context(), `SELECT coalesce(string_agg(concat_ws(' ', code, detail, provider_id), ' '), '') FROM attempts`).Scan(&detail))
	require.Empty(t, tells(detail, secrets), "the ledger keeps what a server said, without addresses")

	require.NoError(t, w.redis.Stop(true))
	require.NoError(t, w.postgres.Stop(true))
	for _, path := range []string{"/readyz", "/v1/contacts?email=" + address0(1), "/v1/contacts/" + address0(1)} {
		_ = w.api.get(t.Context(), path, nil) // it fails, and says so in the log
	}
	eventually(t, 30*time.Second, func() string {
		if !strings.Contains(p.stderr.String(), "refused") {
			return "nobody noticed"
		}
		return ""
	})
	for _, of := range []*proc{p, p2} {
		for line := range strings.Lines(of.stderr.String() + of.stdout.String()) {
			require.Empty(t, tells(line, secrets), of.name)
		}
	}
	require.Contains(t, p.stderr.String(), "level=DEBUG")
	require.NoError(t, w.postgres.Start(t.Context()))
	require.NoError(t, w.redis.Start(t.Context()))
}

// TestBadSettingsAreNotRepeated: a setting that can't be read is named, its
// value isn't told.
func TestBadSettingsAreNotRepeated(t *testing.T) {
	good := map[string]string{
		"KAIROS_DATABASE_URL": "postgres://kairos:canary@127.0.0.1:1/kairos?connect_timeout=1", "KAIROS_REDIS_URL": "redis://:canary@127.0.0.1:1/0",
		"KAIROS_SECRET": "1:" + strings.Repeat("c4", 32), "KAIROS_EMAIL_PROVIDER": "smtp", "KAIROS_SMTP_URL": "smtp://user:canary@127.0.0.1:1",
		"KAIROS_EMAIL_FROM": "Shop <news@shop.example>", "KAIROS_LISTEN": "127.0.0.1:0", "KAIROS_LOG_LEVEL": "debug",
	}
	for name, bad := range map[string]string{
		"":                    "", // an unreachable database
		"KAIROS_DATABASE_URL": "postgres://kairos:canary@127.0.0.1:port/kairos",
		"KAIROS_SECRET":       "1:canary-is-no-hex",
		"KAIROS_REDIS_URL":    "redis//:canary@127.0.0.1",
		"KAIROS_EMAIL_FROM":   "canary at shop",
		"KAIROS_GRACE":        "canary",
	} {
		env := map[string]string{}
		for k, v := range good {
			env[k] = v
		}
		if name != "" {
			env[name] = bad
		}
		p := start(t, env, "serve")
		require.NotZero(t, p.wait(30*time.Second), name)
		require.NotEmpty(t, p.stderr.String())
		if name != "KAIROS_GRACE" { // no secret: the flag's own words may show it
			require.Empty(t, tells(p.stderr.String()+p.stdout.String(), map[string]string{"a secret": "canary", "the root key": strings.Repeat("c4", 32)}), name)
		}
	}
}
