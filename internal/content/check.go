package content

import (
	"strings"

	"github.com/osteele/liquid/expressions"
)

// frame is a block that is open while tokens are checked.
type frame struct {
	name   string
	line   int
	loop   bool
	rounds int // of this loop and the ones around it
	loops  int
	ended  bool // an else has been seen
}

// check walks the tokens of one part and refuses what can't be bounded. It marks
// the tokens that begin and end a block, and reports whether the effect of one
// tag reaches what follows it.
func check(f field, tokens []token) (stateful bool, err error) {
	stack := []frame{{rounds: 1}}
	for i := range tokens {
		t := &tokens[i]
		top := &stack[len(stack)-1]
		var err error
		switch {
		case t.kind == literal:
			continue
		case t.kind == object:
			err = checkExpression(t.args)
		case strings.HasPrefix(t.name, "end"):
			if top.name == "" || t.name != "end"+top.name {
				if !knownBlock(t.name[3:]) {
					return false, f.bad(t.line, "uses the unknown tag %q", t.name)
				}
				return false, f.bad(t.line, "has %s where it ends nothing", t.name)
			}
			t.ends = true
			stack = stack[:len(stack)-1]
			continue
		default:
			switch t.name {
			case "include", "render", "layout", "section", "include_relative":
				return false, f.bad(t.line, "uses the tag %q: other files can't be used", t.name)
			case "if", "unless", "case":
				err = checkExpression(t.args)
			case "for":
				var n int
				n, err = checkFor(t.args)
				if err == nil && top.loops+1 > MaxLoops {
					return false, f.bad(t.line, "nests for tags deeper than %d", MaxLoops)
				}
				if n *= top.rounds; n > MaxIterations {
					return false, f.bad(t.line, "has loops that run more than %d times", MaxIterations)
				}
				t.begins = true
				stack = append(stack, frame{name: "for", line: t.line, loop: true, rounds: n, loops: top.loops + 1})
			case "capture":
				stateful = true
				if ws, e := words(t.args); e != nil || len(ws) != 1 || ws[0].kind != 'n' {
					return false, f.bad(t.line, "has a capture tag without one name")
				}
			case "else":
				if top.name == "" || top.name == "capture" || top.ended {
					return false, f.bad(t.line, "has %s in the wrong place", t.name)
				}
				if t.args != "" {
					return false, f.bad(t.line, "has else with a condition: write elsif")
				}
				top.ended = true
				continue
			case "elsif":
				if top.name != "if" || top.ended {
					return false, f.bad(t.line, "has %s in the wrong place", t.name)
				}
				err = checkExpression(t.args)
			case "when":
				if top.name != "case" || top.ended {
					return false, f.bad(t.line, "has %s in the wrong place", t.name)
				}
				if err = checkWhen(t.args); err == nil {
					err = parses(t.args, expressions.WhenStatementSelector)
				}
			case "break", "continue":
				if top.loops == 0 {
					return false, f.bad(t.line, "has %s outside a for tag", t.name)
				}
			case "cycle":
				stateful = true
				if top.loops == 0 {
					return false, f.bad(t.line, "has %s outside a for tag", t.name)
				}
				if _, err = words(strings.Replace(t.args, ":", " ", 1)); err == nil {
					err = parses(t.args, expressions.CycleStatementSelector)
				}
			case "assign":
				stateful = true
				name, value, ok := strings.Cut(t.args, "=")
				ws, e := words(name)
				if !ok || e != nil || len(ws) != 1 || ws[0].kind != 'n' {
					return false, f.bad(t.line, "has an assign tag that isn't \"name = value\"")
				}
				if err = checkExpression(strings.TrimSpace(value)); err == nil {
					err = parses(t.args, expressions.AssignStatementSelector)
				}
			case "increment", "decrement":
				stateful = true
				if ws, e := words(t.args); e != nil || len(ws) != 1 || ws[0].kind != 'n' {
					return false, f.bad(t.line, "has a %s tag without one name", t.name)
				}
			default:
				return false, f.bad(t.line, "uses the unknown tag %q", t.name)
			}
			if knownBlock(t.name) && t.name != "for" {
				t.begins = true
				stack = append(stack, frame{name: t.name, line: t.line, rounds: top.rounds, loops: top.loops})
			}
			if len(stack)-1 > MaxNesting {
				return false, f.bad(t.line, "nests blocks deeper than %d", MaxNesting)
			}
		}
		if err != nil {
			return false, f.bad(t.line, "%s", err.Error())
		}
	}
	if top := stack[len(stack)-1]; top.name != "" {
		return false, f.bad(top.line, "has a %s without end%s", top.name, top.name)
	}
	return stateful, nil
}

func knownBlock(name string) bool {
	switch name {
	case "if", "unless", "case", "for", "capture":
		return true
	}
	return false
}

// checkWhen checks the values of a when tag, one by one.
func checkWhen(args string) error {
	ws, err := words(args)
	if err != nil {
		return err
	}
	for _, w := range ws {
		if w.text == ".." || w.text == "|" {
			return checkExpression(args)
		}
	}
	return nil
}
