package content

import (
	"encoding/json"
	"fmt"
	stdhtml "html"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// markup is text that is HTML already: every value in it has been escaped.
type markup struct{ s string }

// escape makes s safe in text and in a quoted attribute.
func escape(s string) string { return stdhtml.EscapeString(s) }

// toString is how a value reads in a message. Numbers never take an exponent
// that a reader wouldn't expect.
func toString(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case markup:
		return v.s
	case bool:
		return strconv.FormatBool(v)
	case int:
		return strconv.Itoa(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return formatFloat(v)
	case float32:
		return formatFloat(float64(v))
	case json.Number:
		return v.String()
	case []byte:
		return string(v)
	case time.Time:
		return v.Format("2006-01-02 15:04:05 -0700")
	case fmt.Stringer:
		return v.String()
	}
	if rv := reflect.ValueOf(v); rv.Kind() == reflect.Slice || rv.Kind() == reflect.Array {
		var b strings.Builder
		for i := range rv.Len() {
			if b.WriteString(toString(rv.Index(i).Interface())); b.Len() > MaxOutput {
				break // what comes of it is too large in any case
			}
		}
		return b.String()
	}
	return fmt.Sprint(v)
}

func formatFloat(f float64) string {
	if math.Abs(f) < 1e15 && (math.Abs(f) >= 1e-9 || f == 0) {
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}

// plain is toString for places without HTML: markup is read back to text.
func plain(v any) string {
	if m, ok := v.(markup); ok {
		return stdhtml.UnescapeString(m.s)
	}
	return toString(v)
}

// number is a whole number or a float.
type number struct {
	i     int64
	f     float64
	whole bool
}

func (n number) float() float64 {
	if n.whole {
		return float64(n.i)
	}
	return n.f
}

func (n number) value() any {
	if n.whole {
		return int(n.i)
	}
	return n.f
}

// toNumber reads a value as a number; what isn't one counts as 0.
func toNumber(v any) number {
	switch v := v.(type) {
	case nil:
	case int:
		return number{i: int64(v), whole: true}
	case float64:
		return number{f: v}
	case bool:
	case time.Time:
		return number{i: v.Unix(), whole: true}
	case string, json.Number:
		s := strings.TrimSpace(toString(v))
		if i, err := strconv.ParseInt(s, 10, 64); err == nil {
			return number{i: i, whole: true}
		}
		if f, err := strconv.ParseFloat(s, 64); err == nil && !math.IsNaN(f) && !math.IsInf(f, 0) {
			return number{f: f}
		}
	default:
		switch rv := reflect.ValueOf(v); {
		case rv.CanInt():
			return number{i: rv.Int(), whole: true}
		case rv.CanUint() && rv.Uint() <= math.MaxInt64:
			return number{i: int64(rv.Uint()), whole: true}
		case rv.CanFloat():
			return number{f: rv.Float()}
		}
	}
	return number{whole: true}
}

// wholeOf returns f as a whole number where int64 can hold it.
func wholeOf(f float64) any {
	if math.Abs(f) < 1<<53 {
		return int(f)
	}
	return f
}

// listOf returns the items of a slice or array, or the values of a map by key;
// nil for anything else.
func listOf(v any) []any {
	switch v := v.(type) {
	case nil, string, []byte:
		return nil
	case []any:
		return v
	case map[string]any:
		var out []any
		for _, k := range slices.Sorted(maps.Keys(v)) {
			out = append(out, v[k])
		}
		return out
	}
	rv := reflect.ValueOf(v)
	if rv.Kind() != reflect.Slice && rv.Kind() != reflect.Array {
		return nil
	}
	out := make([]any, rv.Len())
	for i := range out {
		out[i] = rv.Index(i).Interface()
	}
	return out
}

// property returns a map's entry, or nil.
func property(v any, name string) any {
	switch v := v.(type) {
	case map[string]any:
		return v[name]
	case map[string]string:
		if s, ok := v[name]; ok {
			return s
		}
	}
	return nil
}

// sizeOf estimates the bytes of a value, of everything in it when it is a list,
// so that a list can't hold one large text a thousand times.
func sizeOf(v any) int {
	switch v := v.(type) {
	case string:
		return len(v)
	case markup:
		return len(v.s)
	case []any:
		n := 0
		for _, x := range v {
			if n += 16 + sizeOf(x); n > MaxOutput {
				break
			}
		}
		return n
	case map[string]any:
		n := 0
		for k, x := range v {
			if n += 16 + len(k) + sizeOf(x); n > MaxOutput {
				break
			}
		}
		return n
	}
	return 16
}
