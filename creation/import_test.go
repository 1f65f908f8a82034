package creation_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/creation"
	"kairos/internal/batch"
)

func TestImportHostileCSV(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		body             string
		created, updated int64
		errors           map[int64]string // by row, a part of the reason
	}{
		"plain":          {"email,first_name,plan\na@x.org,Ann,pro\nb@x.org,,\n", 2, 0, nil},
		"no last LF":     {"email\na@x.org\nb@x.org", 2, 0, nil},
		"CRLF and BOM":   {"\xef\xbb\xbfEmail;First_Name\r\na@x.org;A\r\nb@x.org;B\r\n", 2, 0, nil},
		"tabs":           {"external_id\temail\n1\ta@x.org\n", 1, 0, nil},
		"quotes":         {"email,\"first_name\"\n\"a@x.org\",\"A, \"\"the\"\" best\"\nb@x.org,\"O'B\"\n", 2, 0, nil},
		"LF in quotes":   {"email,note\na@x.org,\"one\ntwo\"\nb@x.org,\"\r\n\"\n", 2, 0, nil},
		"blank lines":    {"\n\nemail\n\na@x.org\n\r\n\nnonsense\n", 1, 0, map[int64]string{2: "email is not a bare"}},
		"header only":    {"email,plan\n", 0, 0, nil},
		"header, no LF":  {"email", 0, 0, nil},
		"too many":       {"email,plan\na@x.org,1,2\nb@x.org,1\n", 1, 0, map[int64]string{1: "has 3 fields where the header has 2"}},
		"too few":        {"email,plan\na@x.org\nb@x.org,1\n", 1, 0, map[int64]string{1: "has 1 fields where the header has 2"}},
		"no column name": {"email,\na@x.org,\nb@x.org,x\n", 1, 0, map[int64]string{2: "column 2, which has no name"}},
		"same person":    {"email,external_id,plan\na@x.org,1,a\nA@X.ORG,,b\n,1,c\nb@x.org,1,d\n", 1, 3, nil},
		"taken address":  {"email,external_id\na@x.org,1\na@x.org,2\n", 1, 0, map[int64]string{2: "belongs to another contact"}},
		"nobody":         {"email,plan\n,pro\n\" \",x\n", 0, 0, map[int64]string{1: "email or external_id", 2: "email or external_id"}},
		"bad values": {"email,timezone,first_name,attributes\na@x.org,Mars/Base,,\nb@x.org,,\"a\nb\",\nc@x.org,,,[1]\nd@x.org,,,\"{\"\"a\"\":1,\"\"b\"\":null}\"\ne@x.org,,,{\n",
			1, 0, map[int64]string{1: "timezone is not an IANA zone", 2: "first_name holds a control", 3: "attributes is not a JSON object", 5: "attributes is not a JSON object"}},
		"bytes":        {"email,plan\na@x.org,\xff\xfe\nb@x.org,a\x00b\nc\x00@x.org,\n\xc3\x28@x.org,x\nd@x.org,ok\n", 1, 0, map[int64]string{1: "column 2 that can't", 2: "column 2 that can't", 3: "email", 4: "email"}},
		"after quote":  {"email,plan\n\"a@x.org\"x,1\nb@x.org,1\n", 1, 0, map[int64]string{1: "text after a closing quote"}},
		"quote inside": {"email,plan\na@x.org,6\" pipe\nb@x.org,\"\n", 1, 0, map[int64]string{2: "a quote that isn't closed"}},
		"open quote":   {"email,plan\na@x.org,1\n\"b@x.org,1\nc@x.org,1\nd@x.org,1", 3, 0, map[int64]string{2: "a quote that isn't closed"}},
		"long row":     {"email,plan\na@x.org," + strings.Repeat("x", 2<<20) + "\nb@x.org,1\n", 1, 0, map[int64]string{1: "longer than 1 MiB"}},
		"long quote":   {"email,plan\na@x.org,\"" + strings.Repeat("x\n", 1<<20) + "\nb@x.org,1\n", 1, 0, nil},
		"huge value":   {"email,plan\na@x.org," + strings.Repeat("x", 100<<10) + "\nb@x.org,1\n", 1, 0, map[int64]string{1: "longer than 64 KiB"}},
		"formula":      {"email,plan\na@x.org,=cmd|' /C calc'!A0\n", 1, 0, nil},
		"injection":    {"email,a'b\"c\na@x.org,'); DROP TABLE contacts; --\n", 1, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			size := 64
			if len(c.body) > 1<<20 {
				size = 256 << 10
			}
			h := newHouse(t, creation.Options{ChunkSize: size})
			i := h.upload(creation.FormatCSV, c.body)
			require.Equal(t, "finished", i.State)
			require.Equal(t, c.created, i.Created, "created: %v", i.Errors)
			require.Equal(t, c.updated, i.Updated, "updated")
			require.Equal(t, i.Rows, i.Created+i.Updated+i.Rejected)
			require.Equal(t, c.created, h.count(`SELECT count(*) FROM contacts`))
			if name == "long quote" { // its first line is one bad row, the rest is a million more
				require.Equal(t, int64(1<<20), i.Rejected)
				require.Len(t, i.Errors, 1000)
				return
			}
			require.Len(t, i.Errors, len(c.errors))
			for _, e := range i.Errors {
				require.Contains(t, e.Error, c.errors[e.Row], "row %d", e.Row)
				require.NotEmpty(t, c.errors[e.Row], "row %d: %s", e.Row, e.Error)
				require.NotContains(t, e.Error, "x.org")
			}
		})
	}
}

func TestImportRefusesWhatIsNoTable(t *testing.T) {
	t.Parallel()
	h := newHouse(t, creation.Options{})
	for name, c := range map[string]struct{ format, body, want string }{
		"empty":         {"csv", "", "body is empty"},
		"BOM alone":     {"csv", "\xef\xbb\xbf\r\n", "body is empty"},
		"prose":         {"csv", "Dear team,\nplease find attached\n", "neither an email nor an external_id column"},
		"JSON":          {"csv", `{"email":"a@x.org"}` + "\n", "header"},
		"binary":        {"csv", "\x00\x01\x02\n", "header"},
		"UTF-16":        {"csv", "\xff\xfee\x00m\x00", "UTF-16"},
		"long header":   {"csv", "email," + strings.Repeat("x", 1<<20) + "\n", "header is longer than 64 KiB"},
		"old Mac":       {"csv", strings.Repeat("email,x\ra@x.org,1\r", 1<<14), "the lines don't end in LF"},
		"twice":         {"csv", "email,plan,plan\n", "column 3 twice"},
		"open header":   {"csv", "email,\"pl\nan\n", "header has a quote"},
		"CSV as NDJSON": {"ndjson", "email,plan\n", "no JSON object"},
		"format":        {"xlsx", "email\n", "format must be csv or ndjson"},
	} {
		_, err := h.StartImport(context.Background(), c.format, strings.NewReader(c.body))
		require.ErrorIs(t, err, kairos.ErrInvalid, name)
		require.ErrorContains(t, err, c.want, name)
	}
	require.Zero(t, h.count(`SELECT count(*) FROM imports`), "nothing was begun")
}

func TestImportCSVBecomesContacts(t *testing.T) {
	t.Parallel()
	h := newHouse(t, creation.Options{})
	body := "email;external_id;phone;first_name;last_name;locale;timezone;region;attributes;plan;Größe \"L\"\n" +
		" Ann@X.org ;1;+43 1;Ann;Lee;de-AT;Europe/Vienna;AT;\"{\"\"plan\"\":\"\"free\"\",\"\"n\"\":1.50}\";pro;\"a\"\"b\tc\"\n"
	i := h.upload("csv", body)
	require.Equal(t, int64(1), i.Created, "%v", i.Errors)
	c, err := h.ContactByExternalID(context.Background(), "1")
	require.NoError(t, err)
	require.JSONEq(t, `{"plan":"pro","n":1.50,"Größe \"L\"":"a\"b\tc"}`, string(c.Attributes))
	c.Attributes = nil
	require.Equal(t, creation.Contact{
		ID: c.ID, ExternalID: "1", Email: "Ann@X.org", Phone: "+43 1", FirstName: "Ann", LastName: "Lee", Locale: "de-AT",
		Timezone: "Europe/Vienna", Region: "AT", CreatedAt: noon, UpdatedAt: noon,
	}, c)
	h.clock.Advance(time.Hour)
	i = h.upload("csv", body)
	require.Equal(t, int64(1), i.Updated)
	require.Zero(t, h.count(`SELECT count(*) FROM contacts WHERE updated_at > created_at`), "what is the same isn't written")
	i = h.upload("csv", "external_id,plan,last_name\n1,max,\n")
	require.Equal(t, int64(1), i.Updated)
	c, err = h.ContactByExternalID(context.Background(), "1")
	require.NoError(t, err)
	require.Equal(t, "Lee", c.LastName, "an empty cell leaves what is stored")
	require.JSONEq(t, `{"plan":"max","n":1.50,"Größe \"L\"":"a\"b\tc"}`, string(c.Attributes))
	require.Equal(t, h.clock.Now(), c.UpdatedAt)
	require.Equal(t, int64(3), h.count(`SELECT count(*) FROM events WHERE kind = 'import.finished'`))
}

func TestImportNDJSON(t *testing.T) {
	t.Parallel()
	h := newHouse(t, creation.Options{ChunkSize: 50})
	i := h.upload("ndjson", `{"email":"a@x.org","attributes":{"a":1,"b":{"c":[1,2]}},"plan":"pro","first_name":null}
{"external_id":17,"email":"b@x.org"}

[1]
{"email":5.5}
{"email":"c@x.org","first_name":["x"]}
{"email":"d@x.org","attributes":{"n":1e99999}}
{"email":"e@x.org","note":"a\u0000b"}
{"email":"f@x.org"
{"email":"a@x.org","plan":null,"attributes":{"a":"\ud83d\ude00"}}`)
	require.Equal(t, "finished", i.State)
	require.Equal(t, []int64{9, 2, 1, 6}, []int64{i.Rows, i.Created, i.Updated, i.Rejected}, "%v", i.Errors)
	for n, e := range i.Errors {
		require.Equal(t, int64(n+3), e.Row)
	}
	list, _, err := h.Contacts(context.Background(), creation.ContactQuery{Email: "a@x.org"})
	require.NoError(t, err)
	require.JSONEq(t, `{"a":"😀","b":{"c":[1,2]}}`, string(list[0].Attributes))
	_, err = h.ContactByExternalID(context.Background(), "17")
	require.NoError(t, err)
}

// file yields a CSV of n people without holding it.
type file struct {
	n, row int
	rest   []byte
	fail   error // at the end instead of io.EOF
	read   atomic.Int64
}

func (f *file) Read(p []byte) (int, error) {
	for len(f.rest) < len(p) && f.row <= f.n {
		if f.row == 0 {
			f.rest = append(f.rest, "email,external_id,first_name,timezone,plan,seats,city,since,score\n"...)
		} else {
			f.rest = fmt.Appendf(f.rest, "person%d@example.com,ext-%d,Ann,Europe/Vienna,pro,%d,Vienna,2024-01-01,%d.5\n", f.row, f.row, f.row%50, f.row%7)
		}
		f.row++
	}
	n := copy(p, f.rest)
	f.rest = f.rest[:copy(f.rest, f.rest[n:])]
	f.read.Add(int64(n))
	if n == 0 && len(p) > 0 {
		if f.fail != nil {
			return 0, f.fail
		}
		return 0, io.EOF
	}
	return n, nil
}

// TestImportIsBoundedInMemory streams 200,000 rows while they are being stored.
func TestImportIsBoundedInMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("200,000 rows")
	}
	const rows = 200_000
	h := newHouse(t, creation.Options{ChunkSize: 256 << 10})
	ctx := context.Background()
	runtime.GC()
	var before, during runtime.MemStats
	runtime.ReadMemStats(&before)
	var peak uint64
	body := &file{n: rows}
	received, worked := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := h.StartImport(ctx, "csv", body)
		received <- err
	}()
	seen := map[int64]bool{} // progress while it runs
	for done, idle := false, true; ; {
		select {
		case err := <-received:
			require.NoError(t, err)
			done = true
		case err := <-worked:
			require.NoError(t, err)
			idle = true
		case <-time.After(10 * time.Millisecond):
		}
		if refs := h.due(kairos.KindImport); len(refs) > 0 {
			if !idle { // its last commit made way for these
				require.NoError(t, <-worked)
			}
			idle = false
			go func() {
				_, err := h.ImportChunk(ctx, creation.ImportTask{Ref: refs[0]})
				worked <- err
			}()
		}
		require.LessOrEqual(t, h.count(`SELECT count(*) FROM batches WHERE state IN ('planned', 'queued', 'running')`), int64(1), "an import has one batch at a time")
		runtime.GC()
		runtime.ReadMemStats(&during)
		peak = max(peak, during.HeapAlloc)
		seen[h.count(`SELECT coalesce(max(rows), 0) FROM imports`)] = true
		if done && idle && h.count(`SELECT count(*) FROM imports WHERE state = 'running'`) == 0 {
			break
		}
	}
	require.Equal(t, int64(1), h.count(`SELECT count(*) FROM imports WHERE state = 'finished' AND rows = $1 AND created = $1`, rows))
	require.Equal(t, int64(rows), h.count(`SELECT count(*) FROM contacts`))
	require.Zero(t, h.count(`SELECT count(*) FROM import_chunks`))
	require.Greater(t, len(seen), 3, "progress is visible")
	require.Greater(t, body.read.Load(), int64(15<<20))
	require.Less(t, int64(peak)-int64(before.HeapAlloc), int64(40<<20), "bytes of live heap above the start")
	t.Logf("live heap: %.1f MiB above the start, body %d MiB", float64(int64(peak)-int64(before.HeapAlloc))/(1<<20), body.read.Load()>>20)
}

func TestImportOfASenderWhoGoesAway(t *testing.T) {
	t.Parallel()
	h := newHouse(t, creation.Options{ChunkSize: 1 << 10})
	ctx, cancel := context.WithCancel(context.Background())
	gone := errors.New("connection reset")
	cancelled := readerFunc(func() error { cancel(); return gone })
	body := io.MultiReader(&file{n: 100}, strings.NewReader("half@example.com,x,A"), cancelled)
	i, err := h.StartImport(ctx, "csv", body)
	require.ErrorIs(t, err, gone)
	require.ErrorContains(t, err, "body ended early")
	require.Equal(t, "running", i.State)
	h.drain()
	i, err = h.Import(context.Background(), i.ID)
	require.NoError(t, err)
	require.Equal(t, "failed", i.State)
	require.Equal(t, "body ended early", i.Error)
	require.Equal(t, []int64{100, 100}, []int64{i.Rows, i.Created}, "rows before the break stay, the one it cut through is none")
	require.Equal(t, int64(100), h.count(`SELECT count(*) FROM contacts`))
}

type readerFunc func() error

func (f readerFunc) Read([]byte) (int, error) { return 0, f() }

// TestImportWhoseReceiverDies: the lock of the dead process is free, Tick ends
// the body.
func TestImportWhoseReceiverDies(t *testing.T) {
	t.Parallel()
	h := newHouse(t, creation.Options{ChunkSize: 64 << 10})
	ctx := context.Background()
	wait := make(chan struct{})
	body := io.MultiReader(&file{n: 20_000}, readerFunc(func() error { <-wait; return io.EOF }))
	result := make(chan error, 1)
	go func() {
		_, err := h.StartImport(ctx, "csv", body)
		result <- err
	}()
	require.Eventually(t, func() bool { return h.count(`SELECT coalesce(sum(chunks), 0) FROM imports`) > 5 }, 10*time.Second, 5*time.Millisecond)
	h.drain()
	require.NoError(t, h.Tick(ctx))
	require.Equal(t, int64(1), h.count(`SELECT count(*) FROM imports WHERE state = 'running' AND NOT received`), "its receiver lives")
	h.exec(`SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND classid = 1801546093
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`)
	require.Eventually(t, func() bool {
		require.NoError(t, h.Tick(ctx))
		return h.count(`SELECT count(*) FROM imports WHERE state = 'failed' AND error = 'body ended early' AND rows > 0 AND rows = created`) == 1
	}, 10*time.Second, 10*time.Millisecond)
	close(wait)
	require.Error(t, <-result)
}

// TestImportCrashes lets workers die at every chunk: each row counts once.
func TestImportCrashes(t *testing.T) {
	t.Parallel()
	h := newHouse(t, creation.Options{ChunkSize: 2 << 10})
	ctx := context.Background()
	i, err := h.StartImport(ctx, "csv", &file{n: 200})
	require.NoError(t, err)
	require.Greater(t, h.count(`SELECT count(*) FROM import_chunks`), int64(5))
	for round := 0; ; round++ {
		require.Less(t, round, 100)
		refs := h.due(kairos.KindImport)
		if len(refs) == 0 {
			break
		}
		// The process goes away after a chunk or two: its context ends.
		left := h.count(`SELECT count(*) FROM import_chunks`)
		dying, kill := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = h.ImportChunk(dying, creation.ImportTask{Ref: refs[0]})
		}()
		require.Eventually(t, func() bool { return h.count(`SELECT count(*) FROM import_chunks`) < left || left == 0 }, 10*time.Second, time.Millisecond)
		kill()
		<-done
		h.exec(`UPDATE batches SET lease_until = clock_timestamp() - interval '1 second' WHERE state = 'running'`)
		expired, err := batch.Expired(ctx, h.pool, 10)
		require.NoError(t, err)
		for _, ref := range expired {
			tx, err := h.pool.Begin(ctx)
			require.NoError(t, err)
			_, err = batch.Reissue(ctx, tx, ref)
			require.NoError(t, err)
			require.NoError(t, tx.Commit(ctx))
		}
	}
	got, err := h.Import(ctx, i.ID)
	require.NoError(t, err)
	require.Equal(t, "finished", got.State)
	require.Equal(t, []int64{200, 200, 0, 0}, []int64{got.Rows, got.Created, got.Updated, got.Rejected})
	require.Equal(t, int64(200), h.count(`SELECT count(*) FROM contacts`))
	list, _, err := h.Imports(ctx, 10, "")
	require.NoError(t, err)
	require.Len(t, list, 1)
}

// TestImportKeepsTheOrderOfRows: whatever goes side by side, the last row of a
// person wins, also where rows name them by different keys.
func TestImportKeepsTheOrderOfRows(t *testing.T) {
	t.Parallel()
	for _, people := range []int{1, 5, 40} {
		h := newHouse(t, creation.Options{ChunkSize: 100})
		const rows = 400
		body := strings.Builder{}
		body.WriteString("email,external_id,note\n")
		for i := range rows {
			p := i % people
			switch {
			case i < people || i%3 == 0:
				fmt.Fprintf(&body, "p%d@x.org,e%d,%d\n", p, p, i)
			case i%3 == 1:
				fmt.Fprintf(&body, "P%d@x.org,,%d\n", p, i)
			default:
				fmt.Fprintf(&body, ",e%d,%d\n", p, i)
			}
		}
		i := h.upload("csv", body.String())
		require.Equal(t, []int64{rows, int64(people), int64(rows - people)}, []int64{i.Rows, i.Created, i.Updated}, "%v", i.Errors)
		for p := range people {
			last := p + (rows-1-p)/people*people
			require.Equal(t, int64(last), h.count(`SELECT (attributes->>'note')::int FROM contacts WHERE external_id = $1`, fmt.Sprintf("e%d", p)))
		}
	}
}

func TestImportsOfTheSamePeopleSideBySide(t *testing.T) {
	t.Parallel()
	h := newHouse(t, creation.Options{ChunkSize: 4 << 10})
	ctx := context.Background()
	for range 3 {
		_, err := h.StartImport(ctx, "csv", &file{n: 500})
		require.NoError(t, err)
	}
	refs := h.due(kairos.KindImport)
	require.Len(t, refs, 3)
	errs := make(chan error, 3)
	for _, ref := range refs {
		go func() {
			_, err := h.ImportChunk(ctx, creation.ImportTask{Ref: ref})
			errs <- err
		}()
	}
	for range refs {
		require.NoError(t, <-errs)
	}
	h.drain()
	require.Equal(t, int64(500), h.count(`SELECT count(*) FROM contacts`))
	require.Equal(t, int64(500), h.count(`SELECT sum(created) FROM imports WHERE state = 'finished'`))
	require.Equal(t, int64(1000), h.count(`SELECT sum(updated) FROM imports`))
}

func TestImportsReceivedAtOnceAreBounded(t *testing.T) {
	t.Parallel()
	h := newHouse(t, creation.Options{Uploads: 1})
	wait := make(chan struct{})
	first := make(chan error, 1)
	started := make(chan struct{})
	go func() {
		_, err := h.StartImport(context.Background(), "csv", io.MultiReader(readerFunc(func() error { close(started); <-wait; return io.EOF }), strings.NewReader("email\n")))
		first <- err
	}()
	<-started
	_, err := h.StartImport(context.Background(), "csv", strings.NewReader("email\n"))
	require.ErrorIs(t, err, kairos.ErrUnavailable)
	close(wait)
	require.NoError(t, <-first)
	_, err = h.StartImport(context.Background(), "csv", strings.NewReader("email\n"))
	require.NoError(t, err)
}

// TestImportCutsDoNotMatter: chunks that are expected to be of new people, and
// are or are not, leave the same people as a file that is stored in one piece.
func TestImportCutsDoNotMatter(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		random := rand.New(rand.NewPCG(seed, 1))
		known, body := strings.Builder{}, strings.Builder{}
		known.WriteString("email,external_id,note\n")
		body.WriteString("email,external_id,note\n")
		for i := range 400 {
			external, email := fmt.Sprintf("e%d", i), fmt.Sprintf("p%d@x.org", i)
			switch random.IntN(int(20 + 40*seed)) {
			case 0: // a person of before, moved
				other := random.IntN(i + 1)
				external = fmt.Sprintf("e%d", other)
			case 1: // somebody else's address
				email = fmt.Sprintf("p%d@x.org", random.IntN(i+1))
			case 2: // known beforehand by one of the two
				fmt.Fprintf(&known, "%s,k%d,before\n", email, i)
			case 3:
				fmt.Fprintf(&known, "k%d@x.org,%s,before\n", i, external)
			case 4:
				external = ""
			case 5:
				email = "nonsense"
			}
			fmt.Fprintf(&body, "%s,%s,%d\n", email, external, i)
		}
		var want [2]string
		for i, size := range []int{1 << 20, 300} {
			h := newHouse(t, creation.Options{ChunkSize: size})
			h.upload("csv", known.String())
			in := h.upload("csv", body.String())
			var people string
			require.NoError(t, h.pool.QueryRow(t.Context(), `
				SELECT string_agg(concat_ws(',', email, external_id, attributes->>'note'), ';' ORDER BY email, external_id) FROM contacts`).Scan(&people))
			want[i] = fmt.Sprint(people, in.Rows, in.Created, in.Updated, in.Rejected, in.Errors)
		}
		require.Equal(t, want[0], want[1], "seed %d", seed)
	}
}
