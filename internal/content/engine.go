package content

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/osteele/liquid/expressions"
	"github.com/osteele/liquid/render"
	"github.com/osteele/liquid/values"
)

// The engine is given rewritten sources whose delimiters are noncharacters, so
// that literal text can never be read as Liquid.
const (
	objectLeft  = "\uFDD2"
	objectRight = "\uFDD3"
	tagLeft     = "\uFDD4"
	tagRight    = "\uFDD5"
)

var (
	errBreak    = errors.New("break")
	errContinue = errors.New("continue")
)

// engine configures Liquid with this package's tags and filters and nothing
// else. The compiled nodes work with the configuration of any machine.
func engine(m *machine) render.Config {
	cfg := render.NewConfig()
	cfg.Delims = []string{objectLeft, objectRight, tagLeft, tagRight}
	for name, f := range filtersByName {
		cfg.AddFilter(name, func(v any, args ...any) any {
			return m.apply(f, v, args)
		})
	}
	cfg.AddTag("assign", assignTag)
	cfg.AddTag("break", signalTag(errBreak))
	cfg.AddTag("continue", signalTag(errContinue))
	cfg.AddTag("cycle", cycleTag)
	cfg.AddTag("increment", counterTag(0, 1))
	cfg.AddTag("decrement", counterTag(-1, -1))
	cfg.AddTag("kairos_pixel", func(string) (func(io.Writer, render.Context) error, error) {
		return func(w io.Writer, ctx render.Context) error {
			_, err := io.WriteString(w, escape(machineOf(ctx).pixel()))
			return err
		}, nil
	})
	cfg.AddBlock("capture").Compiler(captureBlock)
	cfg.AddBlock("case").Clause("when").Clause("else").Compiler(caseBlock)
	cfg.AddBlock("for").Clause("else").Compiler(forBlock)
	cfg.AddBlock("if").Clause("else").Clause("elsif").Compiler(ifBlock(true))
	cfg.AddBlock("unless").Clause("else").Compiler(ifBlock(false))
	cfg.AddBlock("kairos_href").Compiler(linkBlock(true))
	cfg.AddBlock("kairos_url").Compiler(linkBlock(false))
	return cfg
}

func machineOf(ctx render.Context) *machine { return ctx.Get(machineName).(*machine) }

func assignTag(source string) (func(io.Writer, render.Context) error, error) {
	stmt, err := expressions.ParseStatement(expressions.AssignStatementSelector, source)
	if err != nil {
		return nil, err
	}
	return func(_ io.Writer, ctx render.Context) error {
		machineOf(ctx).tick()
		v, err := ctx.Evaluate(stmt.Assignment.ValueFn)
		if err != nil {
			return err
		}
		ctx.Set(stmt.Assignment.Variable, v)
		return nil
	}, nil
}

func signalTag(signal error) render.TagCompiler {
	return func(string) (func(io.Writer, render.Context) error, error) {
		return func(_ io.Writer, ctx render.Context) error { return ctx.WrapError(signal) }, nil
	}
}

// counterTag makes increment, which writes the counter and then adds 1, and
// decrement, which subtracts 1 first.
func counterTag(before, step int) render.TagCompiler {
	return func(name string) (func(io.Writer, render.Context) error, error) {
		return func(w io.Writer, ctx render.Context) error {
			m := machineOf(ctx)
			m.tick()
			if m.counters == nil {
				m.counters = map[string]int{}
			}
			n := m.counters[name]
			m.counters[name] = n + step
			_, err := io.WriteString(w, strconv.Itoa(n+before))
			return err
		}, nil
	}
}

const loopName = "forloop"

// cycleTag writes its values in turn; the state belongs to the loop around it.
func cycleTag(args string) (func(io.Writer, render.Context) error, error) {
	stmt, err := expressions.ParseStatement(expressions.CycleStatementSelector, args)
	if err != nil {
		return nil, err
	}
	key := "group:" + stmt.Cycle.Group
	if stmt.Cycle.Group == "" {
		key = "values:" + strings.Join(stmt.Cycle.Values, "\x00")
	}
	return func(w io.Writer, ctx render.Context) error {
		m := machineOf(ctx)
		m.tick()
		loop, _ := ctx.Get(loopName).(map[string]any)
		turns, ok := loop[".cycles"].(map[string]int)
		if !ok {
			return errors.New("cycle outside a for tag")
		}
		n := turns[key]
		turns[key] = n + 1
		v := stmt.Cycle.Values[n%len(stmt.Cycle.Values)]
		_, err := io.WriteString(w, v)
		return err
	}, nil
}

func captureBlock(node render.BlockNode) (func(io.Writer, render.Context) error, error) {
	name := strings.TrimSpace(node.Args)
	return func(_ io.Writer, ctx render.Context) error {
		m := machineOf(ctx)
		var buf bytes.Buffer
		if err := ctx.RenderChildren(limitWriter{m, &buf, MaxOutput}); err != nil {
			return err
		}
		m.charge(buf.Len())
		if m.part == inHTML {
			ctx.Set(name, markup{buf.String()})
		} else {
			ctx.Set(name, buf.String())
		}
		return nil
	}, nil
}

// linkBlock renders a destination and writes the URL that tracks it.
func linkBlock(attribute bool) render.BlockCompiler {
	return func(node render.BlockNode) (func(io.Writer, render.Context) error, error) {
		no, err := strconv.ParseUint(strings.TrimSpace(node.Args), 10, 16)
		if err != nil {
			return nil, err
		}
		return func(w io.Writer, ctx render.Context) error {
			m := machineOf(ctx)
			var buf bytes.Buffer
			if err := ctx.RenderChildren(limitWriter{m, &buf, 4 * MaxURL}); err != nil {
				return err
			}
			u := m.follow(uint16(no), buf.String())
			if attribute {
				u = escape(u)
			}
			_, err := io.WriteString(w, u)
			return err
		}, nil
	}
}

func truthy(v any) bool { return v != nil && v != false }

func ifBlock(polarity bool) render.BlockCompiler {
	return func(node render.BlockNode) (func(io.Writer, render.Context) error, error) {
		type branch struct {
			test expressions.Expression // nil for else
			body *render.BlockNode
		}
		test, err := expressions.Parse(node.Args)
		if err != nil {
			return nil, err
		}
		branches := []branch{{test, &node}}
		for _, c := range node.Clauses {
			b := branch{body: c}
			if c.Name == "elsif" {
				if b.test, err = expressions.Parse(c.Args); err != nil {
					return nil, err
				}
			}
			branches = append(branches, b)
		}
		return func(w io.Writer, ctx render.Context) error {
			machineOf(ctx).tick()
			for i, b := range branches {
				if b.test == nil {
					return ctx.RenderBlock(w, b.body)
				}
				v, err := ctx.Evaluate(b.test)
				if err != nil {
					return err
				}
				if truthy(v) == (polarity || i > 0) {
					return ctx.RenderBlock(w, b.body)
				}
			}
			return nil
		}, nil
	}
}

func caseBlock(node render.BlockNode) (func(io.Writer, render.Context) error, error) {
	subject, err := expressions.Parse(node.Args)
	if err != nil {
		return nil, err
	}
	whens := make([][]expressions.Expression, len(node.Clauses)) // nil for else
	for i, c := range node.Clauses {
		if c.Name != "when" {
			continue
		}
		stmt, err := expressions.ParseStatement(expressions.WhenStatementSelector, c.Args)
		if err != nil {
			return nil, err
		}
		whens[i] = stmt.Exprs
	}
	return func(w io.Writer, ctx render.Context) error {
		machineOf(ctx).tick()
		v, err := ctx.Evaluate(subject)
		if err != nil {
			return err
		}
		for i, c := range node.Clauses {
			match := whens[i] == nil
			for _, e := range whens[i] {
				if match {
					break
				}
				x, err := ctx.Evaluate(e)
				if err != nil {
					return err
				}
				match = values.Equal(v, x)
			}
			if match {
				return ctx.RenderBlock(w, c)
			}
		}
		return nil
	}, nil
}

func forBlock(node render.BlockNode) (func(io.Writer, render.Context) error, error) {
	stmt, err := expressions.ParseStatement(expressions.LoopStatementSelector, node.Args)
	if err != nil {
		return nil, err
	}
	loop := stmt.Loop
	return func(w io.Writer, ctx render.Context) error {
		m := machineOf(ctx)
		m.tick()
		v, err := ctx.Evaluate(loop.Expr)
		if err != nil {
			return err
		}
		n, item := iterate(m, v)
		from, to := 0, n
		for i, e := range []expressions.Expression{loop.Offset, loop.Limit} {
			if e == nil {
				continue
			}
			x, err := ctx.Evaluate(e)
			if err != nil {
				return err
			}
			k := max(int(toNumber(x).float()), 0)
			if i == 0 {
				from = min(k, to)
			} else {
				to = min(from+k, to)
			}
		}
		length := to - from
		if length <= 0 {
			if len(node.Clauses) > 0 {
				return ctx.RenderBlock(w, node.Clauses[0])
			}
			return nil
		}
		defer func(outer, variable any) {
			ctx.Set(loopName, outer)
			ctx.Set(loop.Variable, variable)
		}(ctx.Get(loopName), ctx.Get(loop.Variable))
		turns := map[string]int{}
		for i := range length {
			m.tick()
			at := from + i
			if loop.Reversed {
				at = to - 1 - i
			}
			ctx.Set(loop.Variable, item(at))
			ctx.Set(loopName, map[string]any{
				"first": i == 0, "last": i == length-1,
				"index": i + 1, "index0": i, "rindex": length - i, "rindex0": length - i - 1,
				"length": length, ".cycles": turns,
			})
			if err := ctx.RenderChildren(w); err != nil {
				switch cause := err.Cause(); {
				case errors.Is(cause, errContinue):
				case errors.Is(cause, errBreak):
					return nil
				default:
					return err
				}
			}
		}
		return nil
	}, nil
}

// iterate returns how many items v has and how to get one. A map gives its
// entries as [key, value], by key; what is no list gives nothing.
func iterate(m *machine, v any) (int, func(int) any) {
	if r, ok := v.(values.Range); ok {
		if r.Len() > MaxIterations {
			m.fail("has a range that is too long", nil)
		}
		return r.Len(), r.Index
	}
	if x, ok := v.(map[string]any); ok {
		keys := slices.Sorted(maps.Keys(x))
		return len(keys), func(i int) any { return []any{keys[i], x[keys[i]]} }
	}
	items := listOf(v)
	return len(items), func(i int) any { return items[i] }
}
