package creation

import (
	"encoding/json"
	"slices"
	"strings"

	"kairos"
)

// parseNDJSON reads a chunk of one JSON object a line: the contact's fields,
// "attributes", and any other name, which becomes an attribute.
func parseNDJSON(c *Creation, data string, first int64) *parsed {
	p := newParsed([]byte(data))
	for data != "" {
		line := data
		if i := strings.IndexByte(data, '\n'); i >= 0 {
			line = data[:i+1]
		}
		data = data[len(line):]
		if blank([]byte(line)) {
			continue
		}
		number := first + p.total
		p.total++
		r, err := objectRow(c, line)
		p.add(r, number, err, line)
	}
	return p
}

func objectRow(c *Creation, line string) (row, error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal([]byte(line), &object); err != nil || object == nil {
		return row{}, kairos.Invalid("row", "is not a JSON object")
	}
	var r row
	other := map[string]json.RawMessage{}
	for name, raw := range object {
		field := slices.Index(fieldNames[:], name)
		switch {
		case name == "attributes":
		case field < 0:
			other[name] = raw
		default:
			v, err := scalar(fieldNames[field], raw)
			if err != nil {
				return row{}, err
			}
			r.fields[field] = v
		}
	}
	if err := c.checkRow(&r); err != nil {
		return row{}, err
	}
	var err error
	if raw, ok := object["attributes"]; ok {
		if r.attributes, r.drop, err = splitAttributes(raw); err != nil {
			return row{}, err
		}
	}
	if len(other) == 0 {
		return r, nil
	}
	raw, err := json.Marshal(other)
	if err != nil {
		return row{}, kairos.Invalid("attributes", "is not a JSON object")
	}
	var later row
	if later.attributes, later.drop, err = splitAttributes(raw); err != nil {
		return row{}, err
	}
	r.mergeAttributes(&later)
	return r, nil
}

// scalar reads the text of a string or of a number; null is "".
func scalar(name string, raw json.RawMessage) (string, error) {
	var v string
	if raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9' {
		return string(raw), nil
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		return "", kairos.Invalid(name, "is not a string")
	}
	return strings.TrimSpace(v), nil
}
