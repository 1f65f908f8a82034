package creation_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/creation"
	"kairos/internal/batch"
	"kairos/internal/devstack"
)

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// house is a stage on a database of its own, with a clock that stands still.
type house struct {
	*creation.Creation
	pool  *pgxpool.Pool
	clock *kairos.ManualClock
	t     testing.TB
}

func newHouse(t testing.TB, opts creation.Options) *house {
	t.Helper()
	pool, clock := devstack.NewDB(t), kairos.NewManualClock(noon)
	return &house{creation.New(pool, clock, opts), pool, clock, t}
}

// due queues what is due of a kind.
func (h *house) due(kind string) []kairos.Ref {
	h.t.Helper()
	bells, err := batch.Due(context.Background(), h.pool, kind, h.clock.Now(), 64)
	refs := batch.Refs(bells)
	require.NoError(h.t, err)
	return refs
}

// drain runs everything of this stage that is due, each task twice.
func (h *house) drain() {
	h.t.Helper()
	ctx := context.Background()
	for {
		expand, imports := h.due(kairos.KindExpand), h.due(kairos.KindImport)
		for _, ref := range expand {
			for range 2 {
				_, err := h.Expand(ctx, creation.ExpandTask{Ref: ref})
				require.NoError(h.t, err)
			}
		}
		for _, ref := range imports {
			for range 2 {
				_, err := h.ImportChunk(ctx, creation.ImportTask{Ref: ref})
				require.NoError(h.t, err)
			}
		}
		if len(expand)+len(imports) == 0 {
			return
		}
	}
}

// count runs a query that yields one number.
func (h *house) count(sql string, args ...any) (n int64) {
	h.t.Helper()
	require.NoError(h.t, h.pool.QueryRow(context.Background(), sql, args...).Scan(&n))
	return n
}

func (h *house) exec(sql string, args ...any) {
	h.t.Helper()
	_, err := h.pool.Exec(context.Background(), sql, args...)
	require.NoError(h.t, err)
}

// upload imports a body and runs it to its end.
func (h *house) upload(format, body string) creation.Import {
	h.t.Helper()
	i, err := h.StartImport(context.Background(), format, strings.NewReader(body))
	require.NoError(h.t, err)
	h.drain()
	i, err = h.Import(context.Background(), i.ID)
	require.NoError(h.t, err)
	return i
}

func (h *house) template() creation.Template {
	h.t.Helper()
	t, err := h.SaveTemplate(context.Background(), creation.TemplateInput{
		Name: "Offer", Subject: "Hello {{ contact.first_name }}",
		HTML: `<p>Hi {{ contact.first_name }}, <a href="https://shop.example/offer">see</a></p>`,
	})
	require.NoError(h.t, err)
	return t
}

// spec is a campaign that goes to everybody at once.
func (h *house) spec() kairos.CampaignSpec {
	return kairos.CampaignSpec{
		Name: "Autumn", Template: h.template().ID, Channels: []kairos.Channel{kairos.Email},
		Audience: kairos.Audience{All: true}, Schedule: kairos.Schedule{Mode: kairos.ModeNow},
	}
}

func (h *house) people(n int) {
	h.t.Helper()
	h.exec(`INSERT INTO contacts (id, external_id, email, email_key, created_at, updated_at)
		SELECT gen_random_uuid(), 'p' || i, 'p' || i || '@example.com', 'p' || i || '@example.com', $2, $2 FROM generate_series(1, $1::int) i`,
		n, h.clock.Now())
}
