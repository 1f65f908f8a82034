package delivery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"kairos"
	"kairos/internal/pg"
)

// watermarkPeriod is the time between counts. What a database loses that is
// younger than it goes unnoticed.
const watermarkPeriod = time.Second

// watermarkFile is its name in the data directory.
const watermarkFile = "watermark.json"

// tide is a data directory's memory of how far the database had come. It
// counts in the database first and keeps the number in the file afterwards, so
// a database that holds less than the file has lost commits, and so has one
// that holds no count at all of this directory.
type tide struct {
	path string
	now  atomic.Pointer[watermark] // as the file has it; one goroutine counts
}

// errKeep marks a file that can't be written.
var errKeep = errors.New("keep watermark")

// watermark is the content of the file.
type watermark struct {
	Installation kairos.ID `json:"installation"`
	ID           kairos.ID `json:"id"` // of the data directory
	N            int64     `json:"n"`
	At           time.Time `json:"at"` // by the database's clock
}

// Watch compares the data directory with the database and freezes delivery,
// everywhere, when the database stands behind it. From then on this process
// also refuses to open attempts on a database that has fallen behind since.
// Call it before anything is sent, and KeepWatch afterwards.
func (d *Delivery) Watch(ctx context.Context, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("watch the database: %w", err)
	}
	t := &tide{path: filepath.Join(dir, watermarkFile)}
	t.now.Store(&watermark{})
	raw, err := os.ReadFile(t.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("watch the database: %w", err)
	default:
		var m watermark
		if err := json.Unmarshal(raw, &m); err != nil {
			return fmt.Errorf("watch the database: %s is damaged, look at `kairos restore status` and remove it: %w", t.path, err)
		}
		t.now.Store(&m)
	}
	d.tide.Store(t)
	tidy(t.path)
	err = d.count(ctx, t)
	if errors.Is(err, errKeep) { // a full disk must not keep a collector from starting
		d.opts.Log.Warn("the database can't be watched", "error", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("watch the database: %w", err)
	}
	return nil
}

// KeepWatch counts until ctx ends. While the database is away it waits.
func (d *Delivery) KeepWatch(ctx context.Context) error {
	t := d.tide.Load()
	if t == nil {
		return nil
	}
	tick := time.NewTicker(watermarkPeriod)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		try, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := d.count(try, t)
		cancel()
		if err != nil && ctx.Err() == nil && !failing {
			d.opts.Log.Warn("the database can't be watched", "error", err)
		}
		failing = err != nil
	}
}

// count moves the mark on by one, or finds out that the database is behind.
func (d *Delivery) count(ctx context.Context, t *tide) error {
	mark := *t.now.Load()
	err := pg.InTx(ctx, byIndex{d}, func(tx pgx.Tx) error {
		mark = *t.now.Load()
		var installation kairos.ID
		err := tx.QueryRow(ctx, `SELECT installation FROM delivery_state`).Scan(&installation)
		if err != nil {
			return fmt.Errorf("read installation: %w", err)
		}
		if installation != mark.Installation {
			if !mark.Installation.IsZero() {
				d.opts.Log.Warn("the data directory was used with another database; it is this one's now", "file", t.path)
			}
			mark = watermark{Installation: installation, ID: kairos.NewID()}
			return d.adoptMark(ctx, tx, &mark)
		}
		err = tx.QueryRow(ctx, `
			UPDATE watermarks SET n = n + 1, at = clock_timestamp(), moment = $3 WHERE id = $1 AND n >= $2 RETURNING n, at`,
			mark.ID, mark.N, d.clock.Now()).Scan(&mark.N, &mark.At)
		if !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		if err := d.behind(ctx, tx, mark); err != nil {
			return err
		}
		return d.adoptMark(ctx, tx, &mark)
	})
	if err != nil {
		return err
	}
	if err := keep(t.path, mark); err != nil {
		return fmt.Errorf("%w: %w", errKeep, err)
	}
	t.now.Store(&mark)
	return nil
}

// adoptMark writes the mark into a database that lacks it or is behind it.
func (d *Delivery) adoptMark(ctx context.Context, tx pgx.Tx, m *watermark) error {
	return tx.QueryRow(ctx, `
		INSERT INTO watermarks (id, n, at, moment) VALUES ($1, $2 + 1, clock_timestamp(), $3)
		ON CONFLICT (id) DO UPDATE SET n = greatest(excluded.n, watermarks.n + 1), at = excluded.at, moment = excluded.moment
		RETURNING n, at`, m.ID, m.N, d.clock.Now()).Scan(&m.N, &m.At)
}

// behind freezes delivery, unless this very loss has been dealt with: another
// process noticed it, or somebody froze by hand, after the mark was made. A
// database without any campaign has nothing to send.
func (d *Delivery) behind(ctx context.Context, tx pgx.Tx, m watermark) error {
	var known, empty bool
	var since *time.Time
	err := tx.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM freezes WHERE noticed_at >= $2), NOT EXISTS (SELECT FROM campaigns),
		       coalesce((SELECT moment FROM watermarks WHERE id = $1), (SELECT max(moment) FROM watermarks))`, m.ID, m.At).Scan(&known, &empty, &since)
	if err != nil {
		return fmt.Errorf("compare the database with the mark: %w", err)
	}
	if known || empty {
		return nil
	}
	d.opts.Log.Error("the database is behind what this process has seen of it: it was restored from a backup, or lost commits. Nothing is sent until `kairos restore release`",
		"last_seen", m.At)
	return d.freeze(ctx, tx, since, "the database is behind the mark of a data directory", "")
}

// tidy removes what processes that were killed while they wrote have left.
func tidy(path string) {
	left, _ := filepath.Glob(path + ".*")
	for _, name := range left {
		if info, err := os.Stat(name); err == nil && time.Since(info.ModTime()) > time.Minute {
			_ = os.Remove(name)
		}
	}
}

// keep replaces the file by one that is complete and durable.
func keep(path string, m watermark) (err error) {
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), watermarkFile+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(append(raw, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// mark returns what a marking must find in the database; zero: nothing.
func (t *tide) mark() (id kairos.ID, n int64) {
	if t == nil {
		return kairos.ID{}, 0
	}
	m := t.now.Load()
	return m.ID, m.N
}
