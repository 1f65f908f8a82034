package creation

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"kairos"
	"kairos/internal/pg"
)

// errOutOfTurn: the chunk names people who are known already; it has to wait for
// the one before it.
var errOutOfTurn = errors.New("chunk is not all new")

// run stores chunks until none waits or the stint is over. Two go side by side
// where their order can't matter: they have no address and no external id in
// common, and everybody in the later one is new. Those after them are read and
// parsed meanwhile.
func (w *importWork) run(ctx context.Context) ([]kairos.Task, error) {
	waiting, err := w.readNext(ctx, -1)
	if err != nil {
		return nil, err
	}
	for {
		var first, second *chunk // of the pair that waits
		last := -1
		if len(waiting) > 0 {
			first, last = waiting[0], waiting[0].seq
		}
		if len(waiting) > 1 {
			second, last = waiting[1], waiting[1].seq
		}
		ahead, beside := make(chan readAhead, 1), make(chan lane, 1)
		go func() {
			if first == nil {
				ahead <- readAhead{}
				return
			}
			chunks, err := w.readNext(ctx, last)
			ahead <- readAhead{chunks, err}
		}()
		go func() {
			if second == nil || w.oneByOne || !apart(first, second) {
				beside <- lane{}
				return
			}
			beside <- w.commitFresh(ctx, second)
		}()
		over, task, err := w.commit(ctx, first)
		next, other := <-ahead, <-beside
		if err != nil || over || other.over {
			return task, err
		}
		if next.err != nil {
			return nil, next.err
		}
		waiting = next.chunks
		switch {
		case other.stored:
			w.errors += second.refused
		case second != nil:
			w.oneByOne = true // a file of known people: don't try again
			waiting = append([]*chunk{second}, next.chunks...)
		}
		if first != nil {
			w.errors += first.refused
			w.newcomer = first.allNew
		}
		w.mixed = w.mixed || first != nil && first.guessed || second != nil && second.guessed
		if len(waiting) == 0 { // one may have come after we looked
			if waiting, err = w.readNext(ctx, last); err != nil {
				return nil, err
			}
		}
	}
}

type readAhead struct {
	chunks []*chunk
	err    error
}

// readNext loads and parses the next chunks after seq: a pair, or one where
// pairs are of no use.
func (w *importWork) readNext(ctx context.Context, seq int) ([]*chunk, error) {
	n := 2
	if w.oneByOne {
		n = 1
	}
	var chunks []*chunk
	for range n {
		k, err := w.read(ctx, seq)
		if err != nil || k == nil {
			return chunks, err
		}
		chunks, seq = append(chunks, k), k.seq
	}
	return chunks, nil
}

// lane is what became of a chunk that was stored beside the one before it.
type lane struct {
	stored bool
	over   bool // it was the last that waited: the batch is finished
}

// commitFresh stores a chunk of new people beside the one before it. Where it
// can't, for whatever reason, the chunk takes its turn.
func (w *importWork) commitFresh(ctx context.Context, k *chunk) lane {
	over, now := false, w.c.clock.Now()
	err := pg.InTx(ctx, w.c.pool, func(tx pgx.Tx) (err error) {
		if err := w.store(ctx, tx, k, now, true); err != nil {
			return err
		}
		over, _, err = w.conclude(ctx, tx, now, false)
		return err
	})
	return lane{stored: err == nil, over: err == nil && over}
}

// apart reports whether two chunks have no address and no external id in common.
func apart(a, b *chunk) bool {
	externals, emails := make(map[string]struct{}, len(a.rows)), make(map[string]struct{}, len(a.rows))
	for i := range a.rows {
		externals[a.rows[i].fields[fieldExternalID]] = struct{}{}
		emails[a.rows[i].emailKey] = struct{}{}
	}
	for i := range b.rows {
		if v := b.rows[i].fields[fieldExternalID]; v != "" {
			if _, ok := externals[v]; ok {
				return false
			}
		}
		if v := b.rows[i].emailKey; v != "" {
			if _, ok := emails[v]; ok {
				return false
			}
		}
	}
	return true
}
