package content

import (
	"sort"
	"strings"
)

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
