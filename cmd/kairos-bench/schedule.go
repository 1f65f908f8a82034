package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	slotGap  = time.Second // between two slots
	slotLead = 5 * time.Second
	// idleSlots fall due without other load, for comparison.
	idleSlots = 10
)

type scheduleResult struct {
	Slots     int     `json:"slots"`
	IdleSlots int     `json:"idle_slots"`
	Each      int     `json:"each"`
	Late      figures `json:"late"`      // under load: first attempt after the slot
	Idle      figures `json:"idle_late"` // the same with nothing else to send
	Load      int     `json:"load_messages"`
	PerSecond float64 `json:"load_per_second"`
	metered
}

func (r *scheduleResult) tell(t *told) {
	t.row(fmt.Sprintf("%s slots of %s messages, %s apart, under a full sending load", thousands(r.Slots), thousands(r.Each), slotGap),
		fmt.Sprintf("late by p50 %.2f s, p99 %.2f s, at most %.2f s", r.Late.P50/1000, r.Late.P99/1000, r.Late.Max/1000),
		fmt.Sprintf("%d slots without load: p50 %.2f s, p99 %.2f s, at most %.2f s", r.IdleSlots, r.Idle.P50/1000, r.Idle.P99/1000, r.Idle.Max/1000), "")
	t.note("schedule: real time, not simulated: a scaled clock is refused together with a real provider; the load was %s messages of campaigns launched one after another, two at a time (%s messages/s with the slots'); "+
		"none of the slots' messages was early, everybody got what they should.", thousands(r.Load), round(r.PerSecond))
	t.use("schedule", int64(r.Load+r.Slots*r.Each), &r.metered, false)
}

// measureSchedule has a campaign fall due every second, first with nothing else
// to do and then while others are sent as fast as they go, and reads from the
// ledger how late each message's first attempt began.
func (b *bench) measureSchedule(ctx context.Context, w *world) error {
	n := b.Messages
	r := &scheduleResult{Slots: b.sizes.Slots, IdleSlots: min(idleSlots, b.sizes.Slots), Each: b.sizes.SlotEach}
	if r.Slots*r.Each > n {
		return fmt.Errorf("%d messages are too few for %d slots of %d", n, r.Slots, r.Each)
	}
	s, err := w.readyToSend(ctx, n, 0)
	if err != nil {
		return err
	}
	t, err := w.template(ctx)
	if err != nil {
		return err
	}
	b.say("%d slots of %d, without load", r.IdleSlots, r.Each)
	idle, err := w.slots(ctx, t, r.IdleSlots, r.Each)
	if err != nil {
		return err
	}
	if r.Idle, err = w.lateness(ctx, idle, r.Each); err != nil {
		return err
	}
	if err := s.again(ctx); err != nil {
		return err
	}
	m, used, err := w.watch(ctx)
	if err != nil {
		return err
	}
	b.say("%d slots of %d, under load", r.Slots, r.Each)
	load := w.backdrop(ctx, t)
	slots, err := w.slots(ctx, t, r.Slots, r.Each)
	launched, lerr := load()
	if err = errors.Join(err, lerr); err != nil {
		return err
	}
	m.end(used)
	r.metered, r.Load = *used, launched*n
	var c clock
	if err := s.ask(ctx, "/clock", &c); err != nil {
		return err
	}
	r.PerSecond = float64(c.Total) / c.Last.Sub(c.First).Seconds()
	if r.Late, err = w.lateness(ctx, slots, r.Each); err != nil {
		return err
	}
	if err := s.verifyMore(ctx, n, launched, r.Slots*r.Each); err != nil {
		return err
	}
	b.report.add("schedule", r)
	return nil
}

// slots launches campaigns to so many people each, one for every second, and
// waits until all have been sent.
func (w *world) slots(ctx context.Context, template string, n, each int) (ids []string, err error) {
	people, err := w.ids(ctx, n*each)
	if err != nil {
		return nil, err
	}
	ids = make([]string, n)
	// Launching takes its time: the first slot lies behind that.
	begin := time.Now().Add(min(slotLead, time.Duration(n)*time.Second) + time.Duration(n)*20*time.Millisecond)
	err = parallel(ctx, n, func(ctx context.Context, i int) (err error) {
		ids[i], err = w.draft(ctx, template, map[string]any{
			"audience": map[string]any{"contacts": people[i*each : (i+1)*each]},
			"schedule": map[string]any{"mode": "at", "at": begin.Add(time.Duration(i) * slotGap)},
		})
		if err != nil {
			return err
		}
		return w.launch(ctx, ids[i])
	})
	if err != nil {
		return nil, err
	}
	if time.Now().After(begin) {
		return nil, errors.New("the first slot came before all campaigns were launched")
	}
	end := begin.Add(time.Duration(n) * slotGap)
	return ids, w.until(ctx, time.Until(end)+10*time.Minute, 200*time.Millisecond, "the slots", func() (bool, string, error) {
		open, err := w.count(ctx, `SELECT count(*) FROM campaigns WHERE id = ANY ($1::uuid[]) AND state <> 'finished'`, ids)
		return open == 0, fmt.Sprintf("%d are not finished", open), err
	})
}

// backdrop keeps two campaigns to everybody under way until it is ended; then it
// waits for them. It returns how many were launched.
func (w *world) backdrop(ctx context.Context, template string) (end func() (int, error)) {
	over := make(chan struct{})
	var mu sync.Mutex
	var launched int
	var errs []error
	var running sync.WaitGroup
	for range 2 {
		running.Go(func() {
			for {
				err := func() error {
					id, err := w.draft(ctx, template, nil)
					if err == nil {
						err = w.launch(ctx, id)
					}
					if err == nil {
						err = w.finished(ctx, id, time.Hour)
					}
					return err
				}()
				mu.Lock()
				launched++
				errs = append(errs, err)
				mu.Unlock()
				select {
				case <-over:
					return
				default:
				}
				if err != nil {
					return
				}
			}
		})
	}
	return func() (int, error) {
		close(over)
		running.Wait()
		return launched, errors.Join(errs...)
	}
}

// lateness is how long after its slot each message's first attempt began.
func (w *world) lateness(ctx context.Context, campaigns []string, each int) (figures, error) {
	rows, err := w.pool.Query(ctx, `
		SELECT extract(epoch FROM a.started_at - n.planned_at)::float8
		FROM notifications n JOIN attempts a ON a.notification = n.id AND a.campaign = n.campaign AND a.number = 1
		WHERE n.campaign = ANY ($1::uuid[])`, campaigns)
	if err != nil {
		return figures{}, fmt.Errorf("read ledger: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[float64])
	if err != nil {
		return figures{}, fmt.Errorf("read ledger: %w", err)
	}
	if len(all) != len(campaigns)*each {
		return figures{}, fmt.Errorf("verify: the ledger knows %d first attempts, not %d", len(all), len(campaigns)*each)
	}
	late := make([]time.Duration, len(all))
	for i, s := range all {
		if s < 0 {
			return figures{}, fmt.Errorf("verify: a message left %.3f s before its slot", -s)
		}
		late[i] = seconds(s)
	}
	return figuresOf(late), nil
}
