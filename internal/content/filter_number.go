package content

import "math"

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
