package creation

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"

	"kairos"
)

// Bounds of an expression.
const (
	maxExpression = 4 << 10 // bytes
	maxDepth      = 40      // operators within each other
	maxNodes      = 500
	maxList       = 200      // values of an in list
	maxDays       = 10 * 366 // of a function over events
)

// predicate is a condition over "contacts c" and all parameters so far.
type predicate struct {
	sql  string
	args []any
}

// compileSegment turns an expression of the expr language
// (https://expr-lang.org/docs/language-definition) into SQL whose text holds
// nothing of it: names of attributes and values are parameters, numbered after
// args.
//
//	fields      email external_id phone first_name last_name locale timezone region created_at
//	attributes  attributes.plan  attributes["plan"]
//	values      "text" 12 -3.5 true false nil [..]
//	operators   == != < <= > >= in, not in, contains startsWith endsWith, && || ! (and or not)
//	functions   lower(x) upper(x), age_days(created_at)
//	            opened(days) clicked(days) received(days) paid(days): did so within the last days
//
// An attribute is read as what it is compared with: "12" in a text is a number
// beside a number. A comparison with what is missing, or isn't such a value, is
// unknown, as in SQL: neither it nor its negation holds. `x == nil` asks for it.
func compileSegment(source string, now time.Time, args []any) (predicate, error) {
	if strings.TrimSpace(source) == "" {
		return predicate{}, kairos.Invalid("expression", "must not be empty")
	}
	if len(source) > maxExpression {
		return predicate{}, kairos.Invalid("expression", "is longer than %d bytes", maxExpression)
	}
	if strings.ContainsRune(source, 0) || strings.ToValidUTF8(source, "") != source {
		return predicate{}, kairos.Invalid("expression", "is not UTF-8 text")
	}
	tree, err := parser.Parse(source)
	if err != nil {
		var at *file.Error
		if errors.As(err, &at) {
			return predicate{}, kairos.Invalid("expression", "line %d, column %d: %s", at.Line, at.Column+1, at.Message)
		}
		return predicate{}, kairos.Invalid("expression", "can't be read")
	}
	s := &segmentCompiler{source: source, now: now, args: append([]any(nil), args...)}
	sql, err := s.condition(tree.Node, 0)
	if err != nil {
		return predicate{}, err
	}
	return predicate{sql: "(" + sql + ")", args: s.args}, nil
}

type segmentCompiler struct {
	source  string
	now     time.Time
	nowAt   string // placeholder of now, once used
	args    []any
	visited int
}

// bad names the place of a node and the reason.
func (s *segmentCompiler) bad(n ast.Node, reason string, args ...any) error {
	line, column := 1, 1
	at := 0
	if n != nil {
		at = n.Location().From
	}
	for i, r := range []rune(s.source) {
		if i >= at {
			break
		}
		if column++; r == '\n' {
			line, column = line+1, 1
		}
	}
	return kairos.Invalid("expression", "line %d, column %d: %s", line, column, fmt.Sprintf(reason, args...))
}

// param adds a parameter with its type spelled out.
func (s *segmentCompiler) param(v any, typ string) string {
	s.args = append(s.args, v)
	return "$" + strconv.Itoa(len(s.args)) + "::" + typ
}

func (s *segmentCompiler) instant() string {
	if s.nowAt == "" {
		s.nowAt = s.param(s.now, "timestamptz")
	}
	return s.nowAt
}

func (s *segmentCompiler) visit(n ast.Node, depth int) error {
	if n == nil {
		return s.bad(nil, "can't be read")
	}
	if s.visited++; s.visited > maxNodes {
		return s.bad(n, "has more than %d parts", maxNodes)
	}
	if depth > maxDepth {
		return s.bad(n, "is nested deeper than %d", maxDepth)
	}
	return nil
}

// condition compiles a node that is true or false.
func (s *segmentCompiler) condition(n ast.Node, depth int) (string, error) {
	if err := s.visit(n, depth); err != nil {
		return "", err
	}
	switch n := n.(type) {
	case *ast.BoolNode:
		if n.Value {
			return "true", nil
		}
		return "false", nil
	case *ast.UnaryNode:
		if n.Operator != "!" && n.Operator != "not" {
			return "", s.bad(n, "a number isn't a condition")
		}
		inner, err := s.condition(n.Node, depth+1)
		return "(NOT " + inner + ")", err
	case *ast.BinaryNode:
		return s.binary(n, depth)
	case *ast.CallNode, *ast.BuiltinNode:
		return s.behaviour(n)
	case *ast.MemberNode, *ast.ChainNode:
		v, err := s.operand(n, depth)
		if err != nil {
			return "", err
		}
		return v.as(boolean), nil
	case *ast.ConditionalNode:
		return "", s.bad(n, "a choice between two values isn't supported: use && and ||")
	case *ast.IdentifierNode:
		return "", s.bad(n, "must be compared with a value")
	}
	return "", s.bad(n, "isn't a condition")
}

func (s *segmentCompiler) binary(n *ast.BinaryNode, depth int) (string, error) {
	switch op := n.Operator; op {
	case "&&", "and", "||", "or":
		word := " AND "
		if op == "||" || op == "or" {
			word = " OR "
		}
		left, err := s.condition(n.Left, depth+1)
		if err != nil {
			return "", err
		}
		right, err := s.condition(n.Right, depth+1)
		return "(" + left + word + right + ")", err
	case "==", "!=", "<", "<=", ">", ">=":
		return s.compare(n, depth)
	case "contains", "startsWith", "endsWith":
		return s.search(n, depth)
	case "in":
		return s.member(n, depth)
	case "matches":
		return "", s.bad(n, "matches isn't supported: use contains, startsWith or endsWith")
	default:
		return "", s.bad(n, "the operator isn't supported here")
	}
}

// behaviour compiles "did so within the last days".
func (s *segmentCompiler) behaviour(n ast.Node) (string, error) {
	name, args := callOf(n)
	condition := ""
	switch name {
	case "opened":
		condition = "e.kind = '" + kairos.NotificationOpened + "' AND coalesce(e.data->>'machine', '') = ''"
	case "clicked":
		condition = "e.kind = '" + kairos.NotificationClicked + "' AND coalesce(e.data->>'machine', '') = ''"
	case "received":
		condition = "e.kind = '" + kairos.NotificationAccepted + "'"
	case "paid":
		condition = "e.kind = '" + kairos.PaymentReceived + "'"
	case "lower", "upper", "age_days":
		return "", s.bad(n, "must be compared with a value")
	default:
		return "", s.bad(n, "the function isn't known: opened, clicked, received, paid, age_days, lower, upper are")
	}
	if len(args) != 1 {
		return "", s.bad(n, "%s takes one number of days", name)
	}
	days, ok := args[0].(*ast.IntegerNode)
	if !ok || days.Value < 1 || days.Value > maxDays {
		return "", s.bad(n, "%s takes one whole number of days from 1 to %d", name, maxDays)
	}
	from := s.now.AddDate(0, 0, -days.Value)
	return "EXISTS (SELECT FROM events e WHERE e.contact = c.id AND " + condition +
		" AND e.day >= " + s.param(from.UTC().Truncate(24*time.Hour), "date") +
		" AND e.occurred_at > " + s.param(from, "timestamptz") + " AND e.occurred_at <= " + s.instant() + ")", nil
}

// callOf returns the name and arguments of a call, "" when it isn't one by name.
func callOf(n ast.Node) (string, []ast.Node) {
	switch n := n.(type) {
	case *ast.BuiltinNode:
		return n.Name, n.Arguments
	case *ast.CallNode:
		if id, ok := n.Callee.(*ast.IdentifierNode); ok {
			return id.Value, n.Arguments
		}
	}
	return "", nil
}
