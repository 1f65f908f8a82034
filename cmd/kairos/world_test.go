package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"kairos/delivery/deliverytest"
	"kairos/internal/devstack"
	"kairos/internal/pg"
)

// Roles of the processes that the tests run.
const (
	rolesFront = "api,track"
	rolesStage = "creation,orchestration,analysis"
	rolesSend  = "delivery"
)

// world is an installation of real processes on a Postgres and a Redis of the
// test's own, to stop and start again.
type world struct {
	t        testing.TB
	postgres *devstack.Postgres
	redis    *devstack.Redis
	database string // URL
	pool     *pgxpool.Pool
	listen   string // of the public process
	env      map[string]string
	api      *client
	nth      int
}

// newWorld starts the parts, migrates and makes a key. env is added to every
// process's environment. The database is created empty, so that `kairos
// migrate` has all of it to do.
func newWorld(t testing.TB, env map[string]string) *world {
	t.Helper()
	w := &world{t: t, env: env, redis: devstack.NewRedisServer(t)}
	w.postgres = devstack.NewPostgres(t, devstack.PostgresOptions{Fsync: true})
	ctx := t.Context()
	admin, err := pg.Open(ctx, w.postgres.SocketURL("postgres"))
	require.NoError(t, err)
	_, err = admin.Exec(ctx, "CREATE DATABASE shop TEMPLATE template0")
	admin.Close()
	require.NoError(t, err)
	w.database = w.postgres.URL("shop")
	w.listen = freeAddr(t)
	w.run("migrate")
	var key struct {
		APIKey string `json:"api_key"`
	}
	require.NoError(t, json.Unmarshal([]byte(w.run("keys", "create", "tests", "--json")), &key))
	w.api = &client{Server: "http://" + w.listen, APIKey: key.APIKey}
	w.pool, err = pg.Open(ctx, w.postgres.SocketURL("shop"))
	require.NoError(t, err)
	t.Cleanup(w.pool.Close)
	return w
}

// newSMTPWorld is newWorld with mail going to a sink that counts.
func newSMTPWorld(t testing.TB, o deliverytest.SinkOptions) (*world, *deliverytest.SMTPSink) {
	t.Helper()
	sink, err := deliverytest.NewSMTPSink(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sink.Close()) })
	return newWorld(t, map[string]string{"KAIROS_EMAIL_PROVIDER": "smtp", "KAIROS_SMTP_URL": sink.URL()}), sink
}

func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

// environment of every process of the world.
func (w *world) environment(more map[string]string) map[string]string {
	env := map[string]string{
		"KAIROS_DATABASE_URL": w.database, "KAIROS_REDIS_URL": w.redis.URL(),
		"KAIROS_SECRET":     "1:" + strings.Repeat("5e", 32),
		"KAIROS_LISTEN":     "127.0.0.1:0",
		"KAIROS_PUBLIC_URL": "http://" + w.listen,
		"KAIROS_EMAIL_FROM": "Shop <news@shop.example>",
		"KAIROS_MAX_CONNS":  "12",
		"KAIROS_LOG_LEVEL":  "warn",
	}
	for _, m := range []map[string]string{w.env, more} {
		for k, v := range m {
			env[k] = v
		}
	}
	if w.api != nil {
		env["KAIROS_URL"], env["KAIROS_API_KEY"] = w.api.Server, w.api.APIKey
	}
	return env
}

// run runs a command to its good end and returns what it printed.
func (w *world) run(args ...string) string {
	w.t.Helper()
	p := start(w.t, w.environment(nil), args...)
	code := p.wait(2 * time.Minute)
	require.Zero(w.t, code, "kairos %s: %s", strings.Join(args, " "), p.stderr.String())
	return p.stdout.String()
}

// serve starts a process with these roles and waits until it serves. One with
// the roles api or track alone has the public address.
func (w *world) serve(roles string, more ...string) *proc {
	w.t.Helper()
	w.nth++
	env := map[string]string{"KAIROS_ROLES": roles, "KAIROS_DATA_DIR": w.t.TempDir()}
	for i := 0; i < len(more); i += 2 {
		env[more[i]] = more[i+1]
	}
	if strings.Contains(roles, "track") {
		env["KAIROS_LISTEN"] = cmp.Or(env["KAIROS_LISTEN"], w.listen)
	}
	p := start(w.t, w.environment(env), "serve", "--json")
	p.name = fmt.Sprintf("%s (%s, no. %d)", p.name, roles, w.nth)
	line := p.line(time.Minute)
	var at struct{ URL string }
	require.NoError(w.t, json.Unmarshal([]byte(line), &at), "%s", line)
	p.url = at.URL
	return p
}

// audience imports n people, p0@town.example and so on, in two zones.
func (w *world) audience(n int) {
	w.t.Helper()
	var b bytes.Buffer
	b.WriteString("external_id,email,first_name,timezone\n")
	for i := range n {
		fmt.Fprintf(&b, "p%d,%s,Ada,%s\n", i, address0(i), []string{"Europe/Berlin", "Asia/Tokyo"}[i%2])
	}
	imp := w.load(&b)
	require.Equal(w.t, int64(n), imp.Created)
}

func address0(i int) string { return fmt.Sprintf("p%d@town.example", i) }

func (w *world) load(body io.Reader) importState {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	silent := &terminal{out: io.Discard, err: io.Discard, json: true}
	imp, err := w.api.upload(ctx, silent, body, -1, "text/csv")
	require.NoError(w.t, err)
	imp, err = w.api.follow(ctx, silent, imp)
	require.NoError(w.t, err)
	require.Equal(w.t, "finished", imp.State)
	return imp
}

// made is the id of what a POST made.
type made struct {
	ID string `json:"id"`
}

func (w *world) post(path string, body, out any) {
	w.t.Helper()
	require.NoError(w.t, w.api.post(w.t.Context(), path, body, out))
}

func (w *world) get(path string, out any) {
	w.t.Helper()
	require.NoError(w.t, w.api.get(w.t.Context(), path, out))
}

// template saves the tests' content: a greeting, three tracked links.
func (w *world) template() string {
	w.t.Helper()
	var m made
	w.post("/v1/templates", map[string]any{
		"name": "Offer", "channel": "email", "subject": "{{ contact.first_name }}, your offer", "html": demoHTML,
	}, &m)
	return m.ID
}

// campaign makes a draft to everybody, now, with `changes` over it.
func (w *world) campaign(changes map[string]any) string {
	w.t.Helper()
	spec := map[string]any{
		"name": "Offer", "template": "", "audience": map[string]any{"all": true}, "schedule": map[string]any{"mode": "now"},
	}
	for k, v := range changes {
		spec[k] = v
	}
	if spec["template"] == "" {
		spec["template"] = w.template()
	}
	var m made
	w.post("/v1/campaigns", spec, &m)
	return m.ID
}

// launch makes a campaign and launches it.
func (w *world) launch(changes map[string]any) string {
	w.t.Helper()
	id := w.campaign(changes)
	w.act(id, "launch")
	return id
}

// standing is a campaign's state with its counts.
type standing struct {
	State    string `json:"state"`
	Progress struct {
		Planned, Skipped, Sent, Accepted, Unknown, Failed int
		HeldOut                                           int `json:"held_out"`
		Cancelled, Pending, Total                         int
	} `json:"progress"`
}

func (w *world) act(campaign, action string) (s standing) {
	w.t.Helper()
	w.post("/v1/campaigns/"+campaign+"/"+action, nil, &s)
	return s
}

func (w *world) status(campaign string) (s standing) {
	w.t.Helper()
	w.get("/v1/campaigns/"+campaign, &s)
	return s
}

// until waits for a campaign's state.
func (w *world) until(campaign, state string, within time.Duration) (s standing) {
	w.t.Helper()
	eventually(w.t, within, func() string {
		if s = w.status(campaign); s.State == state {
			return ""
		}
		return fmt.Sprintf("the campaign is %s: %+v", s.State, s.Progress)
	})
	return s
}

// recipient is one line of a campaign's ledger.
type recipient struct {
	ID, Contact, State, Reason, Arm string
	PlannedAt                       time.Time `json:"planned_at"`
	Attempts                        []struct {
		Number          int
		State, Evidence string
	}
}

// ledger lists a campaign's recipients in a state, "" for all.
func (w *world) ledger(campaign, state string) (all []recipient) {
	w.t.Helper()
	after := ""
	for {
		var page struct {
			Items []recipient
			Next  *string
		}
		w.get(fmt.Sprintf("/v1/campaigns/%s/notifications?limit=1000&state=%s&after=%s", campaign, state, after), &page)
		all = append(all, page.Items...)
		if page.Next == nil || *page.Next == "" {
			return all
		}
		after = *page.Next
	}
}

// count is one number from the database.
func (w *world) count(query string, args ...any) (n int) {
	w.t.Helper()
	require.NoError(w.t, w.pool.QueryRow(w.t.Context(), query, args...).Scan(&n))
	return n
}

// eventually polls until what is missing is nothing.
func eventually(t testing.TB, within time.Duration, missing func() string) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		what := missing()
		if what == "" {
			return
		}
		if time.Now().After(deadline) {
			require.FailNow(t, "after "+within.String()+": "+what)
		}
		time.Sleep(25 * time.Millisecond)
	}
}

// onceEach asserts that the sink took exactly one message for each of n people
// and nothing else.
func onceEach(t testing.TB, sink *deliverytest.SMTPSink, n int) {
	t.Helper()
	got := sink.Recipients()
	require.Zero(t, sink.Duplicates(), "somebody got two")
	for i := range n {
		require.Equal(t, 1, got[address0(i)], "messages for %s", address0(i))
	}
	require.Len(t, got, n, "strangers got mail")
}

func TestMain(m *testing.M) {
	if os.Getenv(asKairos) != "" { // this process is to be the command
		os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
	}
	http.DefaultTransport.(*http.Transport).MaxIdleConnsPerHost = 64
	os.Exit(m.Run())
}
