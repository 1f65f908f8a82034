package creation

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/mail"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"kairos"
)

// pieces cuts a body into chunks of about size bytes, read in blocks, and parses
// them one by one.
func pieces(t testing.TB, body string, size, block, limit int, separator byte) *parsed {
	c := New(nil, kairos.SystemClock{}, Options{})
	table, err := newCSVTable([]string{"email", "note", "attributes"}, separator)
	require.NoError(t, err)
	cut := newCutter(iotest.HalfReader(strings.NewReader(body)), csvRowEnd(separator))
	cut.block, cut.limit = block, limit
	all := &parsed{}
	for {
		data, rows := cut.next(size)
		if len(data) == 0 {
			break
		}
		require.LessOrEqual(t, len(data), size+limit+2, "a chunk is bounded")
		p := table.parse(c, string(data), all.total+1)
		require.Equal(t, rows, p.total, "cutter and parser count the same rows in %q", data)
		all.rows, all.number, all.bad = append(all.rows, p.rows...), append(all.number, p.number...), append(all.bad, p.bad...)
		all.total += p.total
	}
	require.Equal(t, int(all.total), len(all.rows)+len(all.bad))
	return all
}

// FuzzCSV: wherever a body is cut, the same rows come out, each with its number,
// and no reason holds what was sent.
func FuzzCSV(f *testing.F) {
	for _, s := range []string{
		"a@x.org,1,\nb@x.org,\"2\n3\",\n", "\"a@x.org\",\"\"\"\",\"{\"\"a\"\":1}\"\r\n\r\nb@x.org,,", "a@x.org,\"open\nb@x.org,1,\nc@x.org,1,",
		"\"\"\"\n\"\",\n\"", ",,,,\n\n\n", "a@x.org,\"x\"y,\n", strings.Repeat("a", 100) + "\nb@x.org,,\n", "\x01\n\x02\n", "a;\"b\nc\";\n", "\"\",\"\n\",\"\r\n\"\r\n",
	} {
		f.Add(s, uint16(7), uint16(3))
	}
	f.Fuzz(func(t *testing.T, body string, size, block uint16) {
		for _, limit := range []int{64, maxRow} {
			whole := pieces(t, body, 1<<30, readBlock, limit, ',')
			cut := pieces(t, body, int(size)+1, int(block)+1, limit, ',')
			require.Equal(t, whole.total, cut.total)
			require.Equal(t, whole.bad, cut.bad)
			require.Equal(t, whole.number, cut.number)
			require.Equal(t, whole.rows, cut.rows)
		}
	})
}

// TestCSVWrittenIsCSVRead: what encoding/csv writes comes back field by field.
func TestCSVWrittenIsCSVRead(t *testing.T) {
	t.Parallel()
	field := rapid.StringOf(rapid.SampledFrom([]rune("ab\",;\t \n\ré")))
	rapid.Check(t, func(t *rapid.T) {
		separator := rapid.SampledFrom([]byte(",;\t")).Draw(t, "separator")
		n := rapid.IntRange(2, 4).Draw(t, "columns")
		want := rapid.SliceOfN(rapid.SliceOfN(field, n, n), 1, 8).Draw(t, "rows")
		var buf bytes.Buffer
		w := csv.NewWriter(&buf)
		w.Comma, w.UseCRLF = rune(separator), false
		require.NoError(t, w.WriteAll(want))
		cut := newCutter(&buf, csvRowEnd(separator))
		cut.block = rapid.IntRange(1, 9).Draw(t, "block")
		var got [][]string
		size := rapid.IntRange(1, 40).Draw(t, "size")
		for {
			data, rows := cut.next(size)
			if len(data) == 0 {
				break
			}
			for range rows {
				end, _ := csvRowEnd(separator)(data)
				fields, err := splitCSV(nil, string(data[:end]), separator)
				require.NoError(t, err)
				got, data = append(got, fields), data[end:]
			}
			require.Empty(t, data)
		}
		require.Equal(t, want, got)
	})
}

// FuzzNDJSON: cut anywhere, the same rows come out.
func FuzzNDJSON(f *testing.F) {
	f.Add(`{"email":"a@x.org"}`+"\n\n"+`{"external_id":1,"x":{"y":[null]}}`, uint16(5))
	f.Add(`{"email":"a@x.org","attributes":{"a":"\ud800","b":null}}`+"\nx\n"+strings.Repeat("y", 99), uint16(1))
	f.Fuzz(func(t *testing.T, body string, size uint16) {
		c := New(nil, kairos.SystemClock{}, Options{})
		read := func(size, block int) *parsed {
			cut := newCutter(strings.NewReader(body), lineEnd)
			cut.limit, cut.block = 64, block
			all := &parsed{}
			for {
				data, rows := cut.next(size)
				if len(data) == 0 {
					return all
				}
				p := parseNDJSON(c, string(data), all.total+1)
				require.Equal(t, rows, p.total)
				all.rows, all.bad, all.total = append(all.rows, p.rows...), append(all.bad, p.bad...), all.total+p.total
			}
		}
		whole, cut := read(1<<30, 1<<10), read(int(size)+1, 7)
		require.Equal(t, whole.bad, cut.bad)
		require.Equal(t, whole.rows, cut.rows)
	})
}

// FuzzAddress: what the short way accepts, the long way accepts too.
func FuzzAddress(f *testing.F) {
	for _, s := range []string{"a@x.org", "a.b+c@x-y.org", "a..b@x.org", "@x", "a@-x.org", "a@x..org", "Ann <a@x.org>", "ä@x.org", "a@[1.2.3.4]", "a@x.org\r\nBcc: b@x.org"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if checkEmail(s) != nil {
			return
		}
		require.False(t, strings.ContainsAny(s, "\r\n\t <>,;\"\x00"), "%q", s)
		require.Equal(t, 1, strings.Count(s, "@"), "%q", s)
		require.LessOrEqual(t, len(s), maxEmail)
		a, err := mail.ParseAddress(s)
		require.NoError(t, err, "%q", s)
		require.Equal(t, s, a.Address)
	})
}

// FuzzAttributes: what is accepted is JSON that Postgres stores; here that it is
// an object without what Postgres refuses.
func FuzzAttributes(f *testing.F) {
	for _, s := range []string{`{"a":1}`, `{"a":null}`, `{"a":"\u0000"}`, `{"\u0000":1}`, `{"a":1e400}`, `{"a":{"a":"\udc00"}}`, `{"":""}`, `{"a":"\\u0000"}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		set, drop, err := splitAttributes([]byte(s))
		if err != nil {
			require.ErrorIs(t, err, kairos.ErrInvalid)
			return
		}
		if set != "" {
			again, gone, err := splitAttributes([]byte(set))
			require.NoError(t, err, "what came out goes in: %s", set)
			require.Empty(t, gone)
			require.JSONEq(t, set, again)
			var m map[string]any
			require.NoError(t, json.Unmarshal([]byte(set), &m))
		}
		r := row{attributes: set, drop: drop}
		r.mergeAttributes(&row{attributes: `{"z":1}`})
		require.Contains(t, r.attributes, `"z":1`, fmt.Sprint(drop))
	})
}
