package main

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

var (
	firstNames = []string{"Ada", "Bruno", "Chidi", "Dana", "Emil", "Fatima", "Grace", "Hugo", "Inés", "Jun", "Kofi", "Lena", "Mira", "Noor", "Otto", "Priya"}
	lastNames  = []string{"Abel", "Brandt", "Costa", "Diallo", "Eriksen", "Fischer", "García", "Huber", "Ito", "Jansen"}
	zones      = []string{"Europe/Berlin", "Europe/Lisbon", "America/New_York", "America/Sao_Paulo", "Asia/Kolkata", "Asia/Tokyo"}
	plans      = []string{"free", "basic", "plus", "family"}
	cities     = []string{"Hamburg", "Porto", "Boston", "Recife", "Pune", "Osaka", "Leipzig", "Braga"}
	favourites = []string{"pears", "plums", "walnuts", "quinces", "honey"}
)

func email(i int) string { return "p" + strconv.Itoa(i) + "@town.example" }

// writeAudience makes a CSV of n people with five attributes; seed and number
// alone decide what is in it.
func writeAudience(path string, n int) (size int64, err error) {
	f, err := os.Create(path)
	if err != nil {
		return 0, fmt.Errorf("make audience: %w", err)
	}
	defer func() {
		if cerr := f.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("make audience: %w", cerr)
		}
	}()
	r := rand.New(rand.NewPCG(1, 1))
	pick := func(of []string) string { return of[r.IntN(len(of))] }
	out := bufio.NewWriterSize(f, 1<<20)
	_, _ = out.WriteString("external_id,email,first_name,last_name,timezone,plan,city,favourite,points,since\n") // Flush tells
	for i := range n {
		_, _ = fmt.Fprintf(out, "p%d,%s,%s,%s,%s,%s,%s,%s,%d,20%02d-%02d-%02d\n", i, email(i), pick(firstNames), pick(lastNames),
			pick(zones), pick(plans), pick(cities), pick(favourites), r.IntN(10_000), 10+r.IntN(15), 1+r.IntN(12), 1+r.IntN(28))
	}
	if err := out.Flush(); err != nil {
		return 0, fmt.Errorf("make audience: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return 0, fmt.Errorf("make audience: %w", err)
	}
	return info.Size(), nil
}

// imported is an audience that has come in through the API.
type imported struct {
	size int64 // bytes of the CSV
	took time.Duration
}

// load imports n people through the API of a running process, first byte to
// the end of the import.
func (w *world) load(ctx context.Context, n int) (in imported, err error) {
	path := filepath.Join(w.dir, "audience.csv")
	if in.size, err = writeAudience(path, n); err != nil {
		return in, err
	}
	f, err := os.Open(path)
	if err != nil {
		return in, fmt.Errorf("read audience: %w", err)
	}
	defer func() { _ = f.Close() }()
	var i struct {
		ID       string `json:"id"`
		State    string `json:"state"`
		Rows     int64  `json:"rows"`
		Created  int64  `json:"created"`
		Rejected int64  `json:"rejected"`
		Error    string `json:"error"`
	}
	began := time.Now()
	if err := w.api.Do(ctx, "POST", "/v1/contacts/import", "text/csv", f, &i); err != nil {
		return in, err
	}
	w.say("  uploaded in %s", time.Since(began).Round(time.Millisecond))
	err = w.until(ctx, time.Hour, 50*time.Millisecond, "the import", func() (bool, string, error) {
		err := w.api.Get(ctx, "/v1/imports/"+i.ID, &i)
		return i.State != "running", fmt.Sprintf("%d rows", i.Rows), err
	})
	in.took = time.Since(began)
	if err == nil && (i.State != "finished" || i.Created != int64(n) || i.Rejected != 0) {
		err = fmt.Errorf("the import ended %s: %d created, %d rejected, %s", i.State, i.Created, i.Rejected, i.Error)
	}
	return in, err
}

// people puts n contacts into the table without any of Kairos: for
// measurements of what comes after.
func (w *world) people(ctx context.Context, n int) error {
	w.say("making %d contacts", n)
	_, err := w.pool.Exec(ctx, `
		INSERT INTO contacts (id, external_id, email, email_key, first_name, last_name, timezone, attributes, created_at, updated_at)
		SELECT (lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint + i / 4096), 12, '0') || '7' || lpad(to_hex(i % 4096), 3, '0') ||
		        '8' || substr(md5(i::text), 1, 15))::uuid,
		       'p' || i, 'p' || i || '@town.example', 'p' || i || '@town.example', ($2::text[])[1 + i % cardinality($2::text[])],
		       ($3::text[])[1 + i % cardinality($3::text[])], ($4::text[])[1 + i % cardinality($4::text[])],
		       jsonb_build_object('plan', ($5::text[])[1 + i % cardinality($5::text[])], 'city', ($6::text[])[1 + i % cardinality($6::text[])],
		                          'favourite', ($7::text[])[1 + i % cardinality($7::text[])], 'points', i % 10000, 'since', '2020-01-01'), now(), now()
		FROM generate_series(0, $1 - 1) AS i`, n, firstNames, lastNames, zones, plans, cities, favourites)
	if err != nil {
		return fmt.Errorf("make contacts: %w", err)
	}
	return w.exec(ctx, "ANALYZE contacts", "CHECKPOINT")
}
