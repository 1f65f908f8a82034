package content

// Members returns which members of a value of [Data] the content names, such as
// "first_name" of "contact"; all is true when any of them may be: a block, or
// an expression that only the engine understands, or the value as a whole.
func (c *Content) Members(of string) (names map[string]bool, all bool) {
	names = map[string]bool{}
	path := func(p []string) {
		switch {
		case len(p) == 0 || p[0] != of:
		case len(p) == 1:
			all = true
		default:
			names[p[1]] = true
		}
	}
	look := func(l *lookup) {
		path(l.path)
		for _, f := range l.filters {
			for _, a := range f.args {
				path(a.path)
			}
		}
	}
	for _, part := range [...]*Part{&c.Subject, &c.HTML, &c.Text} {
		for i := range part.holes {
			switch h := &part.holes[i]; {
			case h.pixel, h.dest != "":
			case h.lookup != nil:
				look(h.lookup)
			case h.parts != nil:
				for _, s := range h.parts {
					if s.lookup != nil {
						look(s.lookup)
					}
				}
			default:
				all = true
			}
		}
	}
	return names, all
}
