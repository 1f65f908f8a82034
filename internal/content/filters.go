package content

import (
	"encoding/json"
	"fmt"
	stdhtml "html"
	"math"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/osteele/liquid/values"
)

// filter is a Liquid filter. Its function may end the rendering through the
// machine, and never fails otherwise.
type filter struct {
	min, max int // arguments besides the value
	fn       func(m *machine, v any, args []any) any
}

func (f filter) arity() string {
	if f.min == f.max {
		return fmt.Sprint(f.min)
	}
	return fmt.Sprintf("%d to %d", f.min, f.max)
}

// apply runs a filter and accounts for its result.
func (m *machine) apply(f filter, v any, args []any) any {
	m.tick()
	for len(args) < f.max {
		args = append(args, nil)
	}
	out := f.fn(m, v, args)
	m.charge(sizeOf(out))
	return out
}

// onString makes a filter of a function whose result is about as long as its
// input.
func onString(fn func(string) string) filter {
	return filter{fn: func(_ *machine, v any, _ []any) any { return fn(plain(v)) }}
}

// findFilter returns one filter of the table.
func findFilter(name string) (filter, bool) {
	f, ok := filtersByName[name]
	if strings.HasPrefix(name, "kairos_") {
		return filter{}, false
	}
	return f, ok
}

// filtersByName is never written to.
var filtersByName = filterTable()

// filterTable holds every filter by name. Those with kairos_ end an object and
// fit it to its place; a template can't name them.
func filterTable() map[string]filter {
	return map[string]filter{
		"kairos_html":  {fn: finishHTML},
		"kairos_text":  {fn: finishText},
		"kairos_style": {fn: finishStyle},
		"kairos_path":  {fn: finishPath},
		"kairos_query": {fn: finishQuery},

		"default": {1, 1, func(_ *machine, v any, args []any) any {
			if v == nil || v == false || values.IsEmpty(v) {
				return args[0]
			}
			return v
		}},
		"json": {fn: func(m *machine, v any, _ []any) any {
			m.charge(sizeOf(v))
			b, err := json.Marshal(v)
			if err != nil {
				return nil
			}
			return string(b)
		}},
		"date": {0, 1, dateFilter},
		"size": {fn: func(_ *machine, v any, _ []any) any {
			switch v := v.(type) {
			case string:
				return utf8.RuneCountInString(v)
			case markup:
				return utf8.RuneCountInString(plain(v))
			case map[string]any:
				return 0
			}
			return len(listOf(v))
		}},

		"abs":        onNumber(math.Abs),
		"ceil":       onNumber(math.Ceil),
		"floor":      onNumber(math.Floor),
		"plus":       onNumbers(func(a, b float64) float64 { return a + b }),
		"minus":      onNumbers(func(a, b float64) float64 { return a - b }),
		"times":      onNumbers(func(a, b float64) float64 { return a * b }),
		"modulo":     onNumbers(math.Mod),
		"at_least":   onNumbers(math.Max),
		"at_most":    onNumbers(math.Min),
		"divided_by": {1, 1, dividedBy},
		"round": {0, 1, func(_ *machine, v any, args []any) any {
			n, places := toNumber(v), min(max(toNumber(args[0]).float(), 0), 12)
			if n.whole {
				return n.value()
			}
			exp := math.Pow10(int(places))
			f := math.Floor(n.f*exp+0.5) / exp
			if places == 0 {
				return wholeOf(f)
			}
			return f
		}},

		"append":  {1, 1, func(m *machine, v any, args []any) any { return glue(m, plain(v), plain(args[0])) }},
		"prepend": {1, 1, func(m *machine, v any, args []any) any { return glue(m, plain(args[0]), plain(v)) }},
		"capitalize": onString(func(s string) string {
			r, n := utf8.DecodeRuneInString(s)
			if n == 0 {
				return s
			}
			return string(unicode.ToUpper(r)) + s[n:]
		}),
		"downcase":       onString(strings.ToLower),
		"upcase":         onString(strings.ToUpper),
		"strip":          onString(strings.TrimSpace),
		"lstrip":         onString(func(s string) string { return strings.TrimLeftFunc(s, unicode.IsSpace) }),
		"rstrip":         onString(func(s string) string { return strings.TrimRightFunc(s, unicode.IsSpace) }),
		"strip_newlines": onString(func(s string) string { return strings.NewReplacer("\r", "", "\n", "").Replace(s) }),
		"strip_html":     onString(stripHTML),
		"escape":         {fn: escapeFilter},
		"escape_once": {fn: func(m *machine, v any, _ []any) any {
			if _, ok := v.(markup); ok || m.part != inHTML {
				return v
			}
			return escapeFilter(m, stdhtml.UnescapeString(toString(v)), nil)
		}},
		"newline_to_br": {fn: func(m *machine, v any, _ []any) any {
			if m.part != inHTML {
				return v
			}
			s := escapeFilter(m, v, nil).(markup).s
			m.charge(len(s) + 5*strings.Count(s, "\n"))
			return markup{strings.ReplaceAll(s, "\n", "<br />\n")}
		}},
		"remove":        {1, 1, func(m *machine, v any, args []any) any { return replace(m, v, args[0], "", -1) }},
		"remove_first":  {1, 1, func(m *machine, v any, args []any) any { return replace(m, v, args[0], "", 1) }},
		"replace":       {2, 2, func(m *machine, v any, args []any) any { return replace(m, v, args[0], args[1], -1) }},
		"replace_first": {2, 2, func(m *machine, v any, args []any) any { return replace(m, v, args[0], args[1], 1) }},
		"slice":         {1, 2, sliceFilter},
		"truncate":      {0, 2, truncate},
		"truncatewords": {0, 2, truncateWords},
		"url_encode":    onString(url.QueryEscape),
		"url_decode": onString(func(s string) string {
			if d, err := url.QueryUnescape(s); err == nil {
				return strings.ToValidUTF8(d, "\uFFFD")
			}
			return s
		}),

		"split": {1, 1, split},
		"join": {0, 1, func(m *machine, v any, args []any) any {
			sep := " "
			if args[0] != nil {
				sep = plain(args[0])
			}
			var parts []string
			n := 0
			for _, item := range m.list(v) {
				if item != nil {
					s := plain(item)
					if n += len(s) + len(sep); n > MaxOutput {
						m.charge(n)
					}
					parts = append(parts, s)
				}
			}
			return strings.Join(parts, sep)
		}},
		"first": {fn: func(_ *machine, v any, _ []any) any {
			if l := listOf(v); len(l) > 0 {
				return l[0]
			}
			return nil
		}},
		"last": {fn: func(_ *machine, v any, _ []any) any {
			if l := listOf(v); len(l) > 0 {
				return l[len(l)-1]
			}
			return nil
		}},
		"reverse": {fn: func(m *machine, v any, _ []any) any {
			l := m.list(v)
			out := make([]any, len(l))
			for i, x := range l {
				out[len(l)-1-i] = x
			}
			return out
		}},
		"compact": {fn: func(m *machine, v any, _ []any) any {
			out := []any{}
			for _, x := range m.list(v) {
				if x != nil {
					out = append(out, x)
				}
			}
			return out
		}},
		"concat": {1, 1, func(m *machine, v any, args []any) any {
			a, b := m.list(v), m.list(args[0])
			if len(a)+len(b) > maxItems {
				m.fail("has a list of more than 2,000 items", nil)
			}
			return append(append(make([]any, 0, len(a)+len(b)), a...), b...)
		}},
		"map": {1, 1, func(m *machine, v any, args []any) any {
			out, key := []any{}, plain(args[0])
			for _, x := range m.list(v) {
				out = append(out, property(x, key))
			}
			return out
		}},
		"uniq": {fn: func(m *machine, v any, _ []any) any {
			out, seen := []any{}, map[string]bool{}
			for _, x := range m.list(v) {
				key := fmt.Sprintf("%T %s", x, toString(x))
				m.charge(len(key))
				if !seen[key] {
					seen[key] = true
					out = append(out, x)
				}
			}
			return out
		}},
		"sort": {0, 1, func(m *machine, v any, args []any) any {
			return m.sorted(v, args[0], func(a, b any) bool { return values.Less(a, b) })
		}},
		"sort_natural": {0, 1, func(m *machine, v any, args []any) any {
			return m.sorted(v, args[0], func(a, b any) bool {
				return strings.ToLower(plain(a)) < strings.ToLower(plain(b))
			})
		}},
	}
}
