package content

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

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

// clamp returns v as a whole number of at most a few millions.
func clamp(v any) int {
	return int(min(max(toNumber(v).float(), -4*MaxOutput), 4*MaxOutput))
}
