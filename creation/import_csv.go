package creation

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"kairos"
)

// Where a CSV column goes: a field of the contact, its attributes, or one
// attribute.
const (
	toAttributes = -1
	toAttribute  = -2
	toNothing    = -3 // a column without a name: its cells must be empty
)

// csvTable is what a header row says about the rows after it.
type csvTable struct {
	separator byte
	columns   []int    // by position: a field, or one of the above
	keys      [][]byte // by position: `"name":` of an attribute
}

// csvRowEnd returns rowEnd for RFC 4180: line ends inside quotes belong to the
// field. A quote opens only at the start of a field, and closes the next
// one that isn't doubled.
func csvRowEnd(separator byte) rowEnd {
	return func(b []byte) (int, bool) {
		line := bytes.IndexByte(b, '\n')
		if line >= 0 && bytes.IndexByte(b[:line], '"') < 0 {
			return line + 1, false
		}
		for i := 0; ; i++ { // i is where a field begins
			if i < len(b) && b[i] == '"' {
				for i++; ; i += 2 {
					j := bytes.IndexByte(b[min(i, len(b)):], '"')
					if j < 0 {
						return -1, true
					}
					if i += j; i+1 >= len(b) || b[i+1] != '"' {
						break
					}
				}
			}
			for i < len(b) && b[i] != separator && b[i] != '\n' {
				i++
			}
			if i >= len(b) {
				return -1, false
			}
			if b[i] == '\n' {
				return i + 1, false
			}
		}
	}
}

// errAfterQuote: a field goes on behind its closing quote.
var errAfterQuote = errors.New("has text after a closing quote")

// splitCSV appends the fields of one row to dst; they are parts of the row
// except where doubled quotes had to be undone.
func splitCSV(dst []string, row string, separator byte) ([]string, error) {
	row = strings.TrimSuffix(strings.TrimSuffix(row, "\n"), "\r")
	for {
		if row == "" || row[0] != '"' {
			i := strings.IndexByte(row, separator)
			if i < 0 {
				return append(dst, row), nil
			}
			dst, row = append(dst, row[:i]), row[i+1:]
			continue
		}
		i, doubled := 1, false
		for {
			j := strings.IndexByte(row[i:], '"')
			if j < 0 {
				return dst, errors.New(reasonQuotes)
			}
			if i += j; i+1 < len(row) && row[i+1] == '"' {
				i, doubled = i+2, true
				continue
			}
			break
		}
		field := row[1:i]
		if doubled {
			field = strings.ReplaceAll(field, `""`, `"`)
		}
		dst = append(dst, field)
		if row = row[i+1:]; row == "" {
			return dst, nil
		}
		if row[0] != separator {
			return dst, errAfterQuote
		}
		row = row[1:]
	}
}

// csvSeparator finds which of comma, semicolon and tab the header row uses.
func csvSeparator(header string) byte {
	best, most := byte(','), 0
	for _, s := range []byte{',', ';', '\t'} {
		n, quoted := 0, false
		for i := 0; i < len(header); i++ {
			if header[i] == '"' {
				quoted = !quoted
			} else if header[i] == s && !quoted {
				n++
			}
		}
		if n > most {
			best, most = s, n
		}
	}
	return best
}

// newCSVTable reads the names of the header row.
func newCSVTable(names []string, separator byte) (*csvTable, error) {
	t := &csvTable{separator: separator, columns: make([]int, len(names)), keys: make([][]byte, len(names))}
	seen := make(map[string]bool, len(names))
	identified := false
	for i, name := range names {
		name = strings.TrimSpace(name)
		folded := strings.ToLower(name)
		field := slices.Index(fieldNames[:], folded)
		if field >= 0 || folded == "attributes" {
			name = folded
		}
		if err := checkText("header", name); err != nil {
			return nil, err
		}
		if len(name) > maxName {
			return nil, kairos.Invalid("header", "has a name longer than %d bytes", maxName)
		}
		if seen[name] {
			return nil, kairos.Invalid("header", "has the name of column %d twice", i+1)
		}
		seen[name] = name != ""
		switch {
		case name == "":
			t.columns[i] = toNothing
		case field >= 0:
			t.columns[i] = field
			identified = identified || field == fieldEmail || field == fieldExternalID
		case name == "attributes":
			t.columns[i] = toAttributes
		default:
			t.columns[i] = toAttribute
			t.keys[i] = append(appendJSONString(nil, name), ':')
		}
	}
	if !identified {
		return nil, kairos.Invalid("header", "has neither an email nor an external_id column")
	}
	return t, nil
}

// parsed is a chunk turned into rows. Their texts share the chunk's memory.
type parsed struct {
	rows   []row
	number []int64 // of each row in the import; 1 is the first
	bad    []RowError
	total  int64 // rows and bad ones
}

func newParsed(data []byte) *parsed {
	n := bytes.Count(data, []byte{'\n'}) + 1
	return &parsed{rows: make([]row, 0, n), number: make([]int64, 0, n)}
}

// RowError says why a row was refused. It never holds a value.
type RowError struct {
	Row   int64  `json:"row"`
	Error string `json:"error"`
}

// parse reads a chunk whose first row has the given number.
func (t *csvTable) parse(c *Creation, data string, first int64) *parsed {
	raw := []byte(data)
	p := newParsed(raw)
	end := csvRowEnd(t.separator)
	var fields []string
	var spans []span
	arena := make([]byte, 0, len(data)+len(data)/2)
	for at := 0; at < len(data); {
		n, _ := end(raw[at:])
		if n < 0 {
			n = len(data) - at
		}
		line := data[at : at+n]
		at += n
		if blank(raw[at-n : at]) {
			continue
		}
		number := first + p.total
		p.total++
		var r row
		var err error
		start := len(arena)
		if fields, err = splitCSV(fields[:0], line, t.separator); err == nil {
			arena, err = t.row(c, &r, fields, arena)
		}
		if err == nil && len(arena) > start {
			spans = append(spans, span{len(p.rows), start, len(arena)})
		}
		p.add(r, number, err, line)
	}
	all := string(arena)
	for _, s := range spans {
		p.rows[s.row].attributes = all[s.from:s.to]
	}
	return p
}

// span is where a row's attributes lie in the memory that all rows share.
type span struct{ row, from, to int }

// add keeps a row, or why it was refused.
func (p *parsed) add(r row, number int64, err error, line string) {
	if err == nil {
		p.rows, p.number = append(p.rows, r), append(p.number, number)
		return
	}
	reason := err.Error()
	switch strings.TrimSuffix(line, "\n") {
	case string(rune(rowTooLong)):
		reason = reasonLong
	case string(rune(rowUnclosed)):
		reason = reasonQuotes
	}
	p.bad = append(p.bad, RowError{Row: number, Error: reason})
}

// row checks the fields of one row. The JSON of its attributes is appended to
// arena, which all rows of a chunk share, or is in the row already.
func (t *csvTable) row(c *Creation, r *row, fields []string, arena []byte) ([]byte, error) {
	if len(fields) != len(t.columns) {
		return arena, kairos.Invalid("row", "has %d fields where the header has %d", len(fields), len(t.columns))
	}
	var extra string
	start := len(arena)
	for i, v := range fields {
		switch to := t.columns[i]; {
		case v == "":
		case to >= 0:
			r.fields[to] = strings.TrimSpace(v)
		case to == toAttributes:
			extra = v
		case to == toNothing:
			return arena[:start], kairos.Invalid("row", "has a value in column %d, which has no name", i+1)
		default:
			if strings.IndexByte(v, 0) >= 0 || !utf8.ValidString(v) {
				return arena[:start], kairos.Invalid("row", "holds a character in column %d that can't be stored", i+1)
			}
			if len(arena) == start {
				arena = append(arena, '{')
			} else {
				arena = append(arena, ',')
			}
			arena = appendJSONString(append(arena, t.keys[i]...), v)
		}
	}
	if err := c.checkRow(r); err != nil {
		return arena[:start], err
	}
	if len(arena) > start {
		arena = append(arena, '}')
		if len(arena)-start > maxAttributes {
			return arena[:start], kairos.Invalid("attributes", "are longer than %d KiB", maxAttributes>>10)
		}
	}
	if extra == "" {
		return arena, nil
	}
	var err error
	if r.attributes, r.drop, err = splitAttributes([]byte(extra)); err == nil {
		r.mergeAttributes(&row{attributes: string(arena[start:])}) // a column of its own wins
	}
	return arena[:start], err
}
