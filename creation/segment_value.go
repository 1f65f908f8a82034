package creation

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/expr-lang/expr/ast"
)

// sort is what a value is compared as.
type sort int

const (
	untyped sort = iota // an attribute: whatever the other side is
	text
	number
	boolean
	moment
	null
)

// operand is one side of a comparison.
type operand struct {
	sql     string // of a field, a function or a literal's parameter
	sort    sort
	json    string // of an attribute: its jsonb
	literal any    // of a literal that isn't compiled yet: string, number as text, bool
	email   bool   // compared in lower case
}

// numeric is what a text must look like to be read as a number: at most 100
// digits, so that the cast can't fail.
const numeric = `'^\s*[+-]?(\d{1,50}(\.\d{0,50})?|\.\d{1,50})\s*$'`

// as returns the operand's SQL as a value of the sort, NULL where it isn't one.
func (o operand) as(s sort) string {
	if o.sort != untyped {
		return o.sql
	}
	text := "(" + o.json + " #>> '{}')"
	switch s {
	case number:
		return "(CASE jsonb_typeof(" + o.json + ") WHEN 'number' THEN (" + o.json + ")::numeric WHEN 'string' THEN CASE WHEN " +
			text + " ~ " + numeric + " THEN " + text + "::numeric END END)"
	case boolean:
		return "(CASE lower(" + text + ") WHEN 'true' THEN true WHEN 'false' THEN false END)"
	}
	return text
}

// operand compiles one side of a comparison.
func (s *segmentCompiler) operand(n ast.Node, depth int) (operand, error) {
	if err := s.visit(n, depth); err != nil {
		return operand{}, err
	}
	switch n := n.(type) {
	case *ast.NilNode:
		return operand{sort: null}, nil
	case *ast.StringNode:
		if strings.ContainsRune(n.Value, 0) || strings.ToValidUTF8(n.Value, "") != n.Value {
			return operand{}, s.bad(n, "holds a character that can't be stored")
		}
		return operand{sort: text, literal: n.Value}, nil
	case *ast.IntegerNode:
		return operand{sort: number, literal: strconv.Itoa(n.Value)}, nil
	case *ast.FloatNode:
		return s.float(n, n.Value)
	case *ast.BoolNode:
		return operand{sort: boolean, literal: n.Value}, nil
	case *ast.UnaryNode:
		return s.signed(n, depth)
	case *ast.IdentifierNode:
		if n.Value == "created_at" {
			return operand{sort: moment, sql: "c.created_at"}, nil
		}
		if slices.Contains(fieldNames[:], n.Value) {
			if n.Value == "email" {
				return operand{sort: text, sql: "c.email_key", email: true}, nil
			}
			return operand{sort: text, sql: "c." + fieldNames[slices.Index(fieldNames[:], n.Value)]}, nil
		}
		return operand{}, s.bad(n, "the name isn't known: a field of contacts or attributes.name is expected")
	case *ast.ChainNode:
		return s.operand(n.Node, depth+1)
	case *ast.MemberNode:
		return s.attribute(n)
	case *ast.BuiltinNode, *ast.CallNode:
		return s.function(n, depth)
	}
	return operand{}, s.bad(n, "isn't a value that can be compared")
}

func (s *segmentCompiler) float(n ast.Node, v float64) (operand, error) {
	literal := strconv.FormatFloat(v, 'f', -1, 64)
	if len(literal) > 100 || strings.ContainsAny(literal, "IN") {
		return operand{}, s.bad(n, "the number is out of range")
	}
	return operand{sort: number, literal: literal}, nil
}

func (s *segmentCompiler) signed(n *ast.UnaryNode, depth int) (operand, error) {
	o, err := s.operand(n.Node, depth+1)
	if err != nil {
		return o, err
	}
	digits, ok := o.literal.(string)
	if o.sort != number || !ok || n.Operator != "-" && n.Operator != "+" || strings.HasPrefix(digits, "-") {
		return o, s.bad(n, "isn't a value that can be compared")
	}
	if n.Operator == "-" {
		o.literal = "-" + digits
	}
	return o, nil
}

// attribute compiles attributes.name and attributes["name"]; the name is a
// parameter.
func (s *segmentCompiler) attribute(n *ast.MemberNode) (operand, error) {
	base, ok := n.Node.(*ast.IdentifierNode)
	if !ok || base.Value != "attributes" || n.Method {
		return operand{}, s.bad(n, "only attributes.name or attributes[\"name\"] has members")
	}
	name, ok := n.Property.(*ast.StringNode)
	if !ok {
		return operand{}, s.bad(n, "the name of an attribute must be a text")
	}
	if strings.ContainsRune(name.Value, 0) || strings.ToValidUTF8(name.Value, "") != name.Value {
		return operand{}, s.bad(n, "holds a character that can't be stored")
	}
	return operand{json: "(c.attributes -> " + s.param(name.Value, "text") + ")"}, nil
}

func (s *segmentCompiler) function(n ast.Node, depth int) (operand, error) {
	name, args := callOf(n)
	switch name {
	case "lower", "upper":
		if len(args) != 1 {
			return operand{}, s.bad(n, "%s takes one value", name)
		}
		o, err := s.operand(args[0], depth+1)
		if err != nil {
			return o, err
		}
		if o.literal != nil || o.sort != text && o.sort != untyped {
			return o, s.bad(n, "%s takes a text field or an attribute", name)
		}
		return operand{sort: text, sql: name + "(" + o.as(text) + ")"}, nil
	case "age_days":
		if len(args) == 1 {
			if id, ok := args[0].(*ast.IdentifierNode); ok && id.Value == "created_at" {
				return operand{sort: number, sql: "(extract(epoch FROM " + s.instant() + " - c.created_at)::numeric / 86400)"}, nil
			}
		}
		return operand{}, s.bad(n, "age_days takes created_at")
	case "opened", "clicked", "received", "paid":
		return operand{}, s.bad(n, "%s is true or false: it isn't compared", name)
	}
	return operand{}, s.bad(n, "the function isn't known: opened, clicked, received, paid, age_days, lower, upper are")
}

// compile turns a literal into a parameter, read as what the other side is.
func (s *segmentCompiler) compile(n ast.Node, o *operand, other operand) error {
	if o.literal == nil {
		return nil
	}
	switch {
	case other.sort == moment && o.sort == text:
		at, err := time.Parse(time.RFC3339, o.literal.(string))
		if err != nil {
			at, err = time.Parse(time.DateOnly, o.literal.(string))
		}
		if err != nil || at.Year() < 1 || at.Year() > 9999 {
			return s.bad(n, "isn't a date such as \"2026-01-31\" or \"2026-01-31T10:00:00Z\"")
		}
		o.sort, o.sql = moment, s.param(at, "timestamptz")
	case o.sort == text && other.email:
		o.sql = s.param(strings.ToLower(o.literal.(string)), "text")
	case o.sort == text:
		o.sql = s.param(o.literal, "text")
	case o.sort == number:
		o.sql = s.param(o.literal, "text") + "::numeric"
	case o.sort == boolean:
		o.sql = s.param(o.literal, "boolean")
	}
	return nil
}
