package content

import (
	"encoding/json"
	"fmt"
	stdhtml "html"
	"math"
	"net/url"
	"sort"
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

func onNumber(fn func(float64) float64) filter {
	return filter{fn: func(_ *machine, v any, _ []any) any {
		n := toNumber(v)
		if n.whole && n.i != math.MinInt64 && fn(-1) == -1 {
			return n.value()
		}
		return wholeOf(fn(n.float()))
	}}
}

// onNumbers makes a filter of two numbers: whole of whole ones that stay small,
// else a float.
func onNumbers(fn func(a, b float64) float64) filter {
	return filter{1, 1, func(_ *machine, v any, args []any) any {
		a, b := toNumber(v), toNumber(args[0])
		f := fn(a.float(), b.float())
		switch {
		case math.IsNaN(f) || math.IsInf(f, 0):
			return nil
		case a.whole && b.whole && f == math.Trunc(f):
			return wholeOf(f)
		}
		return f
	}}
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

// list returns the items of v for a filter.
func (m *machine) list(v any) []any {
	l := listOf(v)
	if len(l) > maxItems {
		m.fail("has a list of more than 2,000 items", nil)
	}
	return l
}

// sorted returns the items in order, by a property when key is given; nil comes
// first.
func (m *machine) sorted(v, key any, less func(a, b any) bool) any {
	l := m.list(v)
	out := append(make([]any, 0, len(l)), l...)
	of := func(x any) any { return x }
	if key != nil {
		name := plain(key)
		of = func(x any) any { return property(x, name) }
	}
	sort.SliceStable(out, func(i, j int) bool {
		m.tick()
		a, b := of(out[i]), of(out[j])
		if a == nil || b == nil {
			return a == nil && b != nil
		}
		return less(a, b)
	})
	return out
}

func glue(m *machine, a, b string) string {
	if len(a)+len(b) > MaxOutput {
		m.charge(len(a) + len(b))
	}
	return a + b
}

func replace(m *machine, v, from, to any, times int) any {
	s, f, t := plain(v), plain(from), plain(to)
	if f == "" {
		return s
	}
	n := strings.Count(s, f)
	if times >= 0 {
		n = min(n, times)
	}
	if grown := len(s) + n*(len(t)-len(f)); grown > MaxOutput {
		m.charge(grown)
	}
	return strings.Replace(s, f, t, times)
}

func dividedBy(_ *machine, v any, args []any) any {
	a, b := toNumber(v), toNumber(args[0])
	if b.float() == 0 {
		return nil
	}
	if b.whole {
		return wholeOf(math.Floor(a.float() / b.float()))
	}
	return a.float() / b.f
}

func escapeFilter(m *machine, v any, _ []any) any {
	if _, ok := v.(markup); ok || m.part != inHTML {
		return v
	}
	s := toString(v)
	if len(s) > MaxOutput {
		m.charge(len(s))
	}
	return markup{escape(s)}
}

// stripHTML drops what stands between < and >.
func stripHTML(s string) string {
	var b strings.Builder
	for {
		i := strings.IndexByte(s, '<')
		if i < 0 {
			break
		}
		j := strings.IndexByte(s[i:], '>')
		if j < 0 {
			break
		}
		b.WriteString(s[:i])
		s = s[i+j+1:]
	}
	b.WriteString(s)
	return b.String()
}

func split(m *machine, v any, args []any) any {
	s, sep := plain(v), plain(args[0])
	var parts []string
	switch {
	case s == "":
	case sep == " ":
		parts = strings.Fields(s)
	default:
		parts = strings.SplitN(s, sep, maxItems+1)
	}
	if len(parts) > maxItems {
		m.fail("has a list of more than 2,000 items", nil)
	}
	for len(parts) > 0 && parts[len(parts)-1] == "" {
		parts = parts[:len(parts)-1]
	}
	out := make([]any, len(parts))
	for i, p := range parts {
		out[i] = p
	}
	return out
}

// sliceFilter cuts a string by runes, or a list: start (from the end when
// negative) and length (1).
func sliceFilter(m *machine, v any, args []any) any {
	start, length := clamp(args[0]), 1
	if args[1] != nil {
		length = max(clamp(args[1]), 0)
	}
	cut := func(n int) (int, int) {
		from := start
		if from < 0 {
			from += n
		}
		if from < 0 || from > n {
			return 0, 0
		}
		return from, min(from+length, n)
	}
	switch v.(type) {
	case string, markup, nil:
	default:
		if l := m.list(v); l != nil {
			from, to := cut(len(l))
			return append([]any{}, l[from:to]...)
		}
	}
	r := []rune(plain(v))
	from, to := cut(len(r))
	return string(r[from:to])
}

// clamp returns v as a whole number of at most a few millions.
func clamp(v any) int {
	return int(min(max(toNumber(v).float(), -4*MaxOutput), 4*MaxOutput))
}

// truncate shortens to a length (50) that counts the ellipsis ("...").
func truncate(m *machine, v any, args []any) any {
	n, dots := 50, "..."
	if args[0] != nil {
		n = clamp(args[0])
	}
	if args[1] != nil {
		dots = plain(args[1])
	}
	r := []rune(plain(v))
	if len(r) <= max(n, 0) {
		return string(r)
	}
	return glue(m, string(r[:max(n-utf8.RuneCountInString(dots), 0)]), dots)
}

// truncateWords keeps a number of words (15) and adds the ellipsis ("...").
func truncateWords(m *machine, v any, args []any) any {
	n, dots := 15, "..."
	if args[0] != nil {
		n = max(clamp(args[0]), 1)
	}
	if args[1] != nil {
		dots = plain(args[1])
	}
	s := plain(v)
	words, inWord := 0, false
	for i, r := range s {
		switch space := unicode.IsSpace(r); {
		case space && inWord:
			inWord = false
			if words == n && strings.TrimSpace(s[i:]) != "" {
				return glue(m, s[:i], dots)
			}
		case !space && !inWord:
			inWord = true
			words++
		}
	}
	return s
}
