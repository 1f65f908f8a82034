package content

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/osteele/liquid/expressions"
)

// word is a lexical unit of an expression.
type word struct {
	kind byte // s string, i integer, f float, n name, k name with colon, p .property, o operator
	text string
}

var wordPattern = regexp.MustCompile(`^(?:` +
	`(?P<s>"[^"]*"|'[^']*')` +
	`|(?P<f>-?[0-9]+\.[0-9]+)` +
	`|(?P<i>-?[0-9]+)` +
	`|(?P<k>[A-Za-z_][A-Za-z0-9_-]*\??:)` +
	`|(?P<n>[A-Za-z_][A-Za-z0-9_-]*\??)` +
	`|(?P<p>\.[A-Za-z_][A-Za-z0-9_-]*\??)` +
	`|(?P<o>\.\.|==|!=|>=|<=|[][()|,<>=])` +
	`)`)

// words cuts an expression; it is stricter than the engine's own lexer, which
// panics on some input.
func words(src string) ([]word, error) {
	var out []word
	names := wordPattern.SubexpNames()
	depth, terms := 0, 0
	for {
		src = strings.TrimLeft(src, " ")
		if src == "" {
			return out, nil
		}
		m := wordPattern.FindStringSubmatchIndex(src)
		if m == nil {
			return nil, fmt.Errorf("has an expression that can't be read")
		}
		for g := 1; g < len(names); g++ {
			if m[2*g] >= 0 {
				out = append(out, word{names[g][0], src[:m[1]]})
			}
		}
		w := out[len(out)-1]
		switch {
		case (w.kind == 'i' || w.kind == 'f') && len(w.text) > 15:
			return nil, fmt.Errorf("has a number with more than 15 digits")
		case w.text == "(" || w.text == "[":
			if depth++; depth > MaxNesting {
				return nil, fmt.Errorf("has brackets nested deeper than %d", MaxNesting)
			}
		case w.text == ")" || w.text == "]":
			depth--
		case strings.ContainsAny(w.text, "=<>,") && w.kind == 'o', w.text == "contains":
			if terms++; terms > maxTerms {
				return nil, fmt.Errorf("has an expression with more than %d comparisons or commas", maxTerms)
			}
		}
		src = src[m[1]:]
	}
}

// names reports whether an expression uses the variable name.
func names(src, name string) bool {
	ws, err := words(src)
	if err != nil {
		return false
	}
	for _, w := range ws {
		if w.kind == 'n' && w.text == name {
			return true
		}
	}
	return false
}

// checkExpression refuses what the fence refuses in any expression. Its errors
// are clauses that follow the field's name.
func checkExpression(src string) error {
	ws, err := words(src)
	if err != nil {
		return err
	}
	for i, w := range ws {
		switch {
		case w.text == "..":
			return fmt.Errorf("has a range outside a for tag")
		case w.kind == 'n' && (w.text == "empty" || w.text == "blank") && (i == 0 || ws[i-1].text != "|"):
			return fmt.Errorf("uses %q, which is not supported: compare with '' or nil", w.text)
		case w.text == "|":
			if i+1 == len(ws) || ws[i+1].kind != 'n' && ws[i+1].kind != 'k' {
				return fmt.Errorf("has a | without a filter's name")
			}
			if err := checkFilter(ws[i+1:]); err != nil {
				return err
			}
		}
	}
	if len(src) == 0 {
		return fmt.Errorf("has a tag without an expression")
	}
	return parses(src, "")
}

// parses asks the engine.
func parses(src, selector string) (err error) {
	defer func() {
		if recover() != nil {
			err = fmt.Errorf("has an expression that can't be read")
		}
	}()
	if selector == "" {
		_, err = expressions.Parse(src)
	} else {
		_, err = expressions.ParseStatement(selector, src)
	}
	if err != nil {
		return fmt.Errorf("has an expression that can't be read")
	}
	return nil
}

// checkFilter checks the filter that ws begins with: its name and the number of
// its arguments.
func checkFilter(ws []word) error {
	name := strings.TrimSuffix(ws[0].text, ":")
	f, ok := findFilter(name)
	if !ok {
		return fmt.Errorf("uses the unknown filter %q", name)
	}
	given, depth := 0, 0
	if ws[0].kind == 'k' {
		given = 1
		for _, w := range ws[1:] {
			switch w.text {
			case "(", "[":
				depth++
			case ")", "]":
				depth--
			case ",":
				if depth == 0 {
					given++
				}
			}
			if depth < 0 || depth == 0 && w.text == "|" {
				break
			}
		}
	}
	if given < f.min || given > f.max {
		return fmt.Errorf("gives the filter %q %d arguments: it takes %s", name, given, f.arity())
	}
	if name == "date" && len(ws) > 1 && ws[1].kind == 's' {
		if err := checkDateFormat(ws[1].text); err != nil {
			return err
		}
	}
	return nil
}

// checkFor checks the arguments of a for tag and returns how often a literal
// range runs, or 1 for a list.
func checkFor(src string) (rounds int, err error) {
	ws, err := words(src)
	if err != nil {
		return 0, err
	}
	if len(ws) < 3 || ws[0].kind != 'n' || ws[1].text != "in" {
		return 0, fmt.Errorf("has a for tag that isn't \"item in list\"")
	}
	rounds = 1
	rest := ws[2:]
	for _, w := range ws {
		if w.text != ".." {
			continue
		}
		if len(rest) < 5 || rest[0].text != "(" || rest[1].kind != 'i' || rest[2].text != ".." || rest[3].kind != 'i' || rest[4].text != ")" {
			return 0, fmt.Errorf("has a range whose bounds are not whole numbers")
		}
		from, err1 := strconv.Atoi(rest[1].text)
		to, err2 := strconv.Atoi(rest[3].text)
		if err1 != nil || err2 != nil || to-from >= MaxIterations {
			return 0, fmt.Errorf("has a range of more than %d numbers", MaxIterations)
		}
		rounds = max(to-from+1, 1)
		rest = rest[5:]
		for _, w := range rest {
			if w.text == ".." || w.text == "|" {
				return 0, fmt.Errorf("has a range with a filter")
			}
		}
		break
	}
	for i, w := range rest {
		if w.text == "|" && i+1 < len(rest) {
			end := len(rest)
			for j := i + 2; j < end; j++ { // limit:, offset: and reversed end the filters
				if rest[j].kind == 'k' && rest[j-1].text != "|" || rest[j].text == "reversed" {
					end = j
				}
			}
			if err := checkFilter(rest[i+1 : end]); err != nil {
				return 0, err
			}
		}
		if w.kind == 'k' && w.text != "limit:" && w.text != "offset:" && (i == 0 || rest[i-1].text != "|") {
			return 0, fmt.Errorf("uses the unknown loop modifier %q", strings.TrimSuffix(w.text, ":"))
		}
	}
	return rounds, parses(src, expressions.LoopStatementSelector)
}
