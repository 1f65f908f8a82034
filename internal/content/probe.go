package content

import (
	"context"
	"errors"

	"kairos"
)

// probe renders with no data and with a sample of everything that the source
// names, so that what fails for anyone fails at save.
func (c *Content) probe(s *set) error {
	for _, data := range []Data{{}, s.sample()} {
		_, err := c.render(context.Background(), data, nil, true)
		var failed *RenderError
		if errors.As(err, &failed) {
			return kairos.Invalid(failed.Part, "can't be rendered: it "+failed.Reason)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sample gives every path of the source a text, and a list of one item to what
// a for tag runs over.
func (s *set) sample() Data {
	data := Data{}
	for _, t := range s.tokens {
		ws, err := words(t.args)
		if err != nil {
			continue
		}
		for i := 0; i < len(ws); i++ {
			path, rest, ok := parsePath(ws[i:])
			if !ok {
				continue
			}
			var leaf any = "sample"
			if t.name == "for" && i > 0 && ws[i-1].text == "in" {
				leaf = []any{map[string]any{}}
			}
			plant(data, path, leaf)
			i = len(ws) - len(rest) - 1
		}
	}
	return data
}

// plant sets a path in nested maps; a map wins over a leaf.
func plant(in map[string]any, path []string, leaf any) {
	for _, name := range path[:len(path)-1] {
		next, ok := in[name].(map[string]any)
		if !ok {
			next = map[string]any{}
			in[name] = next
		}
		in = next
	}
	last := path[len(path)-1]
	if _, ok := in[last].(map[string]any); !ok {
		in[last] = leaf
	}
}
