package orchestration

import (
	"sync"
	"time"
)

// zones loads each IANA zone once.
type zones struct {
	fallback *time.Location
	known    sync.Map // name -> *time.Location; nil *time.Location: unknown name
}

// find returns the zone of that name. ok is false when there is none of the
// name and the fallback stands in; an empty name takes the fallback as well,
// but is in order.
func (z *zones) find(name string) (loc *time.Location, ok bool) {
	if name == "" {
		return z.fallback, true
	}
	v, seen := z.known.Load(name)
	if !seen {
		loc, err := time.LoadLocation(name)
		if err != nil || name == "Local" {
			loc = nil
		}
		v, _ = z.known.LoadOrStore(name, loc)
	}
	if loc := v.(*time.Location); loc != nil {
		return loc, true
	}
	return z.fallback, false
}
