package analysis

import "time"

// humans tells which of the kept clicks a person made. A click is a machine's
// when the collector flagged it (HEAD, prefetch, known scanners), when it lies
// closer to a sending than fast, or when it belongs to a burst: a span of at
// most burst in which three distinct links were followed, or both of a message
// that has two. Scanners of mail gateways fetch every link before or while the
// message is put into the box; people don't. Since the whole set is judged
// anew, a late click takes earlier ones of its burst out again.
func (f *facts) humans(fast, burst time.Duration) []bool {
	human := make([]bool, len(f.Clicks))
	for i, c := range f.Clicks {
		human[i] = !c.Flagged && !f.atOnce(c.At, fast)
	}
	need := 3
	if f.Links == 2 {
		need = 2
	}
	if burst < 0 || len(f.Clicks) < need {
		return human
	}
	span := burst.Microseconds()
	for i := range f.Clicks {
		seen := map[string]bool{}
		end := i
		for end < len(f.Clicks) && f.Clicks[end].At-f.Clicks[i].At <= span {
			if c := f.Clicks[end]; !c.Flagged { // a scanner that gave its name says nothing of the person after it
				seen[c.Link] = true
			}
			end++
		}
		if len(seen) >= need {
			clear(human[i:end])
		}
	}
	return human
}

func (f *facts) atOnce(at int64, fast time.Duration) bool {
	for _, a := range f.Attempts {
		if d := at - a.At; a.At != 0 && d < fast.Microseconds() && -d < fast.Microseconds() {
			return true
		}
	}
	return false
}
