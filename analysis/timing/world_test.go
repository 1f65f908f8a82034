package timing

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"kairos"
	"kairos/dto"
	"kairos/dto/sim"
	"kairos/internal/batch"
	"kairos/internal/devstack"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction(devstack.Goroutine))
}

// dawn is when the worlds begin.
var dawn = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

var ann = By{"Ann", "because it is right"}

// world is a database with what the earlier stages would have left in it.
type world struct {
	t     testing.TB
	pool  *pgxpool.Pool
	clock *kairos.ManualClock
	r     *Registry
}

func newWorld(t testing.TB, opts Options) *world {
	pool, clock := devstack.NewDB(t), kairos.NewManualClock(dawn)
	return &world{t: t, pool: pool, clock: clock, r: New(pool, clock, opts)}
}

func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	_, err := w.pool.Exec(context.Background(), sql, args...)
	require.NoError(w.t, err)
}

func (w *world) count(sql string, args ...any) (n int) {
	w.t.Helper()
	require.NoError(w.t, w.pool.QueryRow(context.Background(), sql, args...).Scan(&n))
	return n
}

// message is a row of journeys, and for exploration of notifications.
type message struct {
	campaign, contact kairos.ID
	arm               kairos.Arm
	model             *int
	planned, sent     time.Time
	clicked           time.Time
	state             string
	eligible          []byte
	propensity        float64
	hour              int
}

// everyHour is a mask of all hours of the week.
func everyHour() []byte {
	b := make([]byte, 21)
	for i := range b {
		b[i] = 0xff
	}
	return b
}

func (w *world) send(messages ...message) []kairos.ID {
	w.t.Helper()
	ctx := context.Background()
	ids := kairos.NewIDRange(dawn)
	var out []kairos.ID
	var notes, journeys [][]any
	for i, m := range messages {
		id := ids.Nth(i)
		out = append(out, id)
		if m.state == "" {
			m.state = "{}"
		}
		if m.planned.IsZero() {
			m.planned = m.sent
		}
		var clicked *time.Time
		if !m.clicked.IsZero() {
			clicked = &m.clicked
		}
		journeys = append(journeys, []any{id, m.campaign, m.contact, string(m.arm), "email", m.model, m.planned, m.sent, clicked, m.state})
		if m.arm != kairos.ArmExplore {
			continue
		}
		if m.eligible == nil {
			m.eligible, m.propensity = everyHour(), 1./168
		}
		notes = append(notes, []any{id, m.campaign, m.contact, "email", "accepted", string(m.arm), m.propensity, m.eligible, int16(m.hour), m.planned, m.planned})
	}
	_, err := w.pool.CopyFrom(ctx, pgx.Identifier{"journeys"}, []string{"notification", "campaign", "contact", "arm", "channel", "model", "starts_at", "sent_at", "clicked_at", "state"}, pgx.CopyFromRows(journeys))
	require.NoError(w.t, err)
	_, err = w.pool.CopyFrom(ctx, pgx.Identifier{"notifications"}, []string{"id", "campaign", "contact", "channel", "state", "arm", "propensity", "eligible", "slot", "planned_at", "decided_at"}, pgx.CopyFromRows(notes))
	require.NoError(w.t, err)
	return out
}

// fill writes a drawn population's exploration and activity; each person gets
// a message every other day. The clock then stands when all of it has matured.
func (w *world) fill(p *sim.Population) []kairos.ID {
	w.t.Helper()
	n, r, a := p.Data.Delivered, p.Data.Responded, p.Data.Activity
	ids := kairos.NewIDRange(dawn)
	people := make([]kairos.ID, n.Rows)
	var messages []message
	var campaigns []kairos.ID
	for u := range people {
		people[u] = ids.Nth(u)
		k := 0
		for h := range n.Cols {
			for i := range int(n.Data[u*n.Stride+h]) {
				if k == len(campaigns) {
					campaigns = append(campaigns, kairos.NewID())
				}
				m := message{campaign: campaigns[k], contact: people[u], arm: kairos.ArmExplore, hour: h,
					sent: dawn.Add(time.Duration(48*k+h) * time.Hour)}
				if i < int(r.Data[u*r.Stride+h]) {
					m.clicked = m.sent.Add(time.Hour)
				}
				messages, k = append(messages, m), k+1
			}
		}
	}
	w.send(messages...)
	w.clock.Set(dawn.Add(time.Duration(48*len(campaigns)+48) * time.Hour))
	scale := dto.ActivityWeight(w.clock.Now())
	rows := make([][]any, n.Rows)
	for u := range rows {
		act := make([]float32, 24)
		for h := range act {
			act[h] = float32(float64(a.Data[u*a.Stride+h]) * scale)
		}
		rows[u] = []any{people[u], act, dawn, 0}
	}
	_, err := w.pool.CopyFrom(context.Background(), pgx.Identifier{"profiles"}, []string{"contact", "activity", "seen_on", "hours"}, pgx.CopyFromRows(rows))
	require.NoError(w.t, err)
	return people
}

// due rings for the batches of a kind that are due and returns them.
func (w *world) due(kind string) []kairos.Ref {
	w.t.Helper()
	bells, err := batch.Due(context.Background(), w.pool, kind, w.clock.Now(), 64)
	refs := batch.Refs(bells)
	require.NoError(w.t, err)
	return refs
}

// work does all batches that are due and returns how many there were.
func (w *world) work() int {
	w.t.Helper()
	n := 0
	for _, ref := range w.due(kairos.KindTrain) {
		_, err := w.r.Train(context.Background(), TrainTask{ref})
		require.NoError(w.t, err)
		n++
	}
	for _, ref := range w.due(kairos.KindScore) {
		_, err := w.r.Score(context.Background(), ScoreTask{ref})
		require.NoError(w.t, err)
		n++
	}
	return n
}

func (w *world) watch() {
	w.t.Helper()
	require.NoError(w.t, w.r.Watch(context.Background()))
}

func (w *world) train() Model {
	w.t.Helper()
	m, err := w.r.Request(context.Background(), ann)
	require.NoError(w.t, err)
	require.Equal(w.t, Training, m.State)
	w.work()
	return w.model(m.Version)
}

func (w *world) model(v int) Model {
	w.t.Helper()
	m, err := w.r.Model(context.Background(), v)
	require.NoError(w.t, err)
	return m
}

// events returns how many events of a kind the log has.
func (w *world) events(kind string) int {
	return w.count(`SELECT count(*) FROM events WHERE kind = $1`, kind)
}
