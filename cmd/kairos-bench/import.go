package main

import (
	"context"
	"fmt"
)

type importResult struct {
	Rows              int64   `json:"rows"`
	CSVBytes          int64   `json:"csv_bytes"`
	Seconds           float64 `json:"seconds"` // first byte to finished
	RowsPerSecond     float64 `json:"rows_per_second"`
	CopySeconds       float64 `json:"copy_seconds"`
	CopyRowsPerSecond float64 `json:"copy_rows_per_second"`
	Ratio             float64 `json:"ratio"` // of the bare COPY's speed
	metered
}

func (i *importResult) tell(t *told) {
	t.row(fmt.Sprintf("import of %s contacts, CSV, 5 attributes", thousands(i.Rows)),
		fmt.Sprintf("%s rows/s (%.1f s)", round(i.RowsPerSecond), i.Seconds),
		fmt.Sprintf("bare COPY %s rows/s (%.1f s)", round(i.CopyRowsPerSecond), i.CopySeconds), percent(i.Ratio))
	t.use("import", i.Rows, &i.metered, false)
}

// measureImport streams a CSV into POST /v1/contacts/import and sets a bare
// COPY of the parsed rows beside it.
func (b *bench) measureImport(ctx context.Context, w *world) error {
	if err := w.front(ctx); err != nil {
		return err
	}
	b.say("importing %d contacts", b.Contacts)
	if err := w.exec(ctx, "CHECKPOINT"); err != nil {
		return err
	}
	profile := w.profile(ctx, "import")
	m, used, err := w.watch(ctx)
	if err != nil {
		return err
	}
	in, err := w.load(ctx, b.Contacts)
	if err != nil {
		return err
	}
	m.end(used)
	if err := profile.end(ctx); err != nil {
		return err
	}
	n, err := w.count(ctx, `SELECT count(*) FROM contacts WHERE attributes ?& array['plan', 'city', 'favourite', 'points', 'since']`)
	if err != nil {
		return err
	}
	if n != int64(b.Contacts) {
		return fmt.Errorf("%d contacts have all attributes, not %d", n, b.Contacts)
	}
	b.say("copying the same rows")
	bare, err := w.bareCopy(ctx, "contacts", "", n)
	if err != nil {
		return err
	}
	b.report.add("import", &importResult{
		Rows: n, CSVBytes: in.size, Seconds: in.took.Seconds(), RowsPerSecond: float64(n) / in.took.Seconds(),
		CopySeconds: bare.Seconds(), CopyRowsPerSecond: float64(n) / bare.Seconds(), Ratio: bare.Seconds() / in.took.Seconds(), metered: *used,
	})
	return w.exec(ctx, "ANALYZE contacts", "CHECKPOINT")
}

// front starts the processes that every measurement needs, once.
func (w *world) front(ctx context.Context) error {
	if len(w.procs) > 0 {
		return nil
	}
	for _, p := range [][2]string{{"front", "api,track"}, {"stages", "creation,orchestration,analysis"}} {
		if _, err := w.serve(ctx, p[0], p[1]); err != nil {
			return err
		}
	}
	return nil
}
