package content

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// lookup is an object that needs no engine: a path and a chain of filters.
type lookup struct {
	path    []string
	filters []call
}

type call struct {
	filter filter
	args   []operand
}

// operand is a literal, or a path.
type operand struct {
	value any
	path  []string
}

// parseLookup reads expressions like contact.name | default: "friend".
func parseLookup(args string) (*lookup, bool) {
	ws, err := words(args)
	if err != nil {
		return nil, false
	}
	l := &lookup{}
	var ok bool
	if l.path, ws, ok = parsePath(ws); !ok {
		return nil, false
	}
	for len(ws) > 0 {
		if ws[0].text != "|" || len(ws) < 2 {
			return nil, false
		}
		f, known := findFilter(strings.TrimSuffix(ws[1].text, ":"))
		if !known {
			return nil, false
		}
		c := call{filter: f}
		takes := ws[1].kind == 'k'
		ws = ws[2:]
		for takes {
			var o operand
			if o, ws, ok = parseOperand(ws); !ok {
				return nil, false
			}
			c.args = append(c.args, o)
			if takes = len(ws) > 0 && ws[0].text == ","; takes {
				ws = ws[1:]
			}
		}
		l.filters = append(l.filters, c)
	}
	return l, true
}

// then returns l with one more filter.
func (l *lookup) then(name string) *lookup {
	f := filtersByName[name]
	return &lookup{l.path, append(append([]call{}, l.filters...), call{filter: f})}
}

func parsePath(ws []word) (path []string, rest []word, ok bool) {
	if len(ws) == 0 || ws[0].kind != 'n' || isKeyword(ws[0].text) {
		return nil, nil, false
	}
	path = []string{ws[0].text}
	ws = ws[1:]
	for len(ws) > 0 && ws[0].kind == 'p' {
		path = append(path, ws[0].text[1:])
		ws = ws[1:]
	}
	return path, ws, true
}

func isKeyword(name string) bool {
	switch name {
	case "true", "false", "nil", "and", "or", "contains", "in":
		return true
	}
	return false
}

func parseOperand(ws []word) (operand, []word, bool) {
	if len(ws) == 0 {
		return operand{}, nil, false
	}
	w := ws[0]
	switch w.kind {
	case 's':
		return operand{value: w.text[1 : len(w.text)-1]}, ws[1:], true
	case 'i':
		n, err := strconv.Atoi(w.text)
		return operand{value: n}, ws[1:], err == nil
	case 'f':
		f, err := strconv.ParseFloat(w.text, 64)
		return operand{value: f}, ws[1:], err == nil
	}
	path, rest, ok := parsePath(ws)
	return operand{path: path}, rest, ok
}

// resolve follows a path through maps; ok is false when only the engine knows
// what the path means there.
func (m *machine) resolve(path []string) (v any, ok bool) {
	if path[0] == "unsubscribe_url" {
		v = m.unsubscribe()
	} else {
		v = m.data[path[0]]
	}
	for _, name := range path[1:] {
		switch x := v.(type) {
		case nil:
			return nil, true
		case map[string]any:
			next, found := x[name]
			if !found && name == "size" {
				return nil, false
			}
			v = next
		case map[string]string:
			next, found := x[name]
			switch {
			case found:
				v = next
			case name == "size":
				return nil, false
			default:
				v = nil
			}
		default:
			return nil, false
		}
	}
	switch v.(type) {
	case nil, string, bool, int, int64, float64, time.Time, json.Number, []any, map[string]any:
		return v, true
	}
	return nil, false
}

// eval evaluates a lookup; ok is false when the engine has to.
func (m *machine) eval(l *lookup) (out any, ok bool) {
	v, ok := m.resolve(l.path)
	if !ok {
		return nil, false
	}
	var room [3]any
	for _, c := range l.filters {
		args := room[:0]
		for _, a := range c.args {
			x := a.value
			if a.path != nil {
				if x, ok = m.resolve(a.path); !ok {
					return nil, false
				}
			}
			args = append(args, x)
		}
		v = m.apply(c.filter, v, args)
	}
	return v, true
}
