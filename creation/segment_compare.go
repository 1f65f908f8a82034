package creation

import (
	"strings"

	"github.com/expr-lang/expr/ast"
)

var comparisons = map[string]string{"==": "=", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}

// compare compiles == != < <= > >=.
func (s *segmentCompiler) compare(n *ast.BinaryNode, depth int) (string, error) {
	left, right, err := s.sides(n, depth)
	if err != nil {
		return "", err
	}
	if left.sort == null || right.sort == null {
		return s.missing(n, left, right)
	}
	if left.literal != nil && right.literal != nil {
		return "", s.bad(n, "compares two values: one side must be a field or an attribute")
	}
	if err := s.compile(n.Left, &left, right); err != nil {
		return "", err
	}
	if err := s.compile(n.Right, &right, left); err != nil {
		return "", err
	}
	as := left.sort
	if as == untyped {
		as = right.sort
	}
	if as == untyped {
		return "", s.bad(n, "compares two attributes: one side must be a value or a field")
	}
	if right.sort != untyped && right.sort != as {
		return "", s.bad(n, "compares different kinds of values")
	}
	if as == moment && (left.sort == untyped || right.sort == untyped) {
		return "", s.bad(n, "created_at is compared with a date")
	}
	op := comparisons[n.Operator]
	if as == boolean && op != "=" && op != "<>" {
		return "", s.bad(n, "true and false have no order")
	}
	collation := ""
	if as == text && op != "=" && op != "<>" {
		collation = ` COLLATE "C"` // by code point, as expr compares
	}
	return "(" + left.as(as) + " " + op + " " + right.as(as) + collation + ")", nil
}

// missing compiles x == nil and x != nil: always true or false.
func (s *segmentCompiler) missing(n *ast.BinaryNode, left, right operand) (string, error) {
	o := left
	if left.sort == null {
		o = right
	}
	if o.sort == null || o.literal != nil || n.Operator != "==" && n.Operator != "!=" {
		return "", s.bad(n, "nil is compared with a field or an attribute, by == or !=")
	}
	not := ""
	if n.Operator == "!=" {
		not = "NOT "
	}
	return "(" + o.as(text) + " IS " + not + "NULL)", nil
}

func (s *segmentCompiler) sides(n *ast.BinaryNode, depth int) (left, right operand, err error) {
	if left, err = s.operand(n.Left, depth+1); err == nil {
		right, err = s.operand(n.Right, depth+1)
	}
	return left, right, err
}

// search compiles contains, startsWith and endsWith, by code point.
func (s *segmentCompiler) search(n *ast.BinaryNode, depth int) (string, error) {
	left, right, err := s.sides(n, depth)
	if err != nil {
		return "", err
	}
	if left.literal != nil || left.sort != text && left.sort != untyped || right.sort != text || right.literal == nil {
		return "", s.bad(n, "%s takes a text field or an attribute, and a text", n.Operator)
	}
	if err := s.compile(n.Right, &right, left); err != nil {
		return "", err
	}
	v := left.as(text)
	switch n.Operator {
	case "contains":
		return "(strpos(" + v + ", " + right.sql + ") > 0)", nil
	case "startsWith":
		return "starts_with(" + v + ", " + right.sql + ")", nil
	}
	return "(right(" + v + ", length(" + right.sql + ")) = " + right.sql + ")", nil
}

// member compiles x in ["a", "b"]; the parser has made "not in" of it and "not".
func (s *segmentCompiler) member(n *ast.BinaryNode, depth int) (string, error) {
	left, err := s.operand(n.Left, depth+1)
	if err != nil {
		return "", err
	}
	list, ok := n.Right.(*ast.ArrayNode)
	if !ok || left.literal != nil || left.sort == null {
		return "", s.bad(n, "in takes a field or an attribute, and a list of values")
	}
	if len(list.Nodes) > maxList {
		return "", s.bad(n, "the list has more than %d values", maxList)
	}
	if len(list.Nodes) == 0 {
		return "", s.bad(n, "the list is empty")
	}
	parts := make([]string, 0, len(list.Nodes))
	for _, item := range list.Nodes {
		v, err := s.operand(item, depth+2)
		if err != nil {
			return "", err
		}
		if v.literal == nil {
			return "", s.bad(item, "a list holds values only")
		}
		if err := s.compile(item, &v, left); err != nil {
			return "", err
		}
		if left.sort != untyped && left.sort != v.sort {
			return "", s.bad(item, "compares different kinds of values")
		}
		parts = append(parts, left.as(v.sort)+" = "+v.sql)
	}
	return "(" + strings.Join(parts, " OR ") + ")", nil
}
