package analysis

import (
	"encoding/json"
	"strconv"
)

// appendJSON appends what json.Marshal gives for f.
func (f *facts) appendJSON(b []byte) []byte {
	o := objectWriter{b: append(b, '{')}
	o.number("slot", f.Slot)
	o.number("start", f.Start)
	o.flag("planned", f.Planned)
	o.flag("held_out", f.HeldOut)
	o.flag("skipped", f.Skipped)
	for i := range f.Attempts {
		a := &f.Attempts[i]
		o.element(i, "attempts")
		e := objectWriter{b: append(o.b, '{')}
		e.name("n")
		e.b = strconv.AppendInt(e.b, int64(a.Number), 10)
		e.name("at")
		e.b = strconv.AppendInt(e.b, a.At, 10)
		e.flag("sent", a.Sent)
		e.flag("accepted", a.Accepted)
		e.flag("unknown", a.Unknown)
		e.flag("rejected", a.Rejected)
		e.flag("confirms", a.Confirms)
		o.b = append(e.b, '}')
	}
	o.closed(len(f.Attempts))
	o.number("links", int64(f.Links))
	o.flag("delivered", f.Delivered)
	o.flag("bounced", f.Bounced)
	o.number("complained", int64(f.Complained))
	o.number("unsubscribed", int64(f.Unsubscribed))
	for i, at := range f.Opens {
		o.element(i, "opens")
		o.b = strconv.AppendInt(o.b, at, 10)
	}
	o.closed(len(f.Opens))
	o.number("more_opens", int64(f.MoreOpens))
	o.number("machine_opens", int64(f.MachineOpens))
	for i := range f.Clicks {
		c := &f.Clicks[i]
		o.element(i, "clicks")
		e := objectWriter{b: append(o.b, '{')}
		e.name("at")
		e.b = strconv.AppendInt(e.b, c.At, 10)
		e.name("link")
		e.text(c.Link)
		e.flag("machine", c.Flagged)
		o.b = append(e.b, '}')
	}
	o.closed(len(f.Clicks))
	o.number("more_clicks", int64(f.MoreClicks))
	o.number("more_machine_clicks", int64(f.MoreMachineClicks))
	o.number("viewed", int64(f.Viewed))
	o.number("cta", int64(f.CTA))
	o.number("offer_accepted", int64(f.OfferAccepted))
	o.number("offer_declined", int64(f.OfferDeclined))
	return append(o.b, '}')
}

// objectWriter writes a JSON object's members; zero values are left out.
type objectWriter struct{ b []byte }

func (o *objectWriter) name(name string) {
	if o.b[len(o.b)-1] != '{' {
		o.b = append(o.b, ',')
	}
	o.b = append(append(append(o.b, '"'), name...), '"', ':')
}

func (o *objectWriter) number(name string, n int64) {
	if n != 0 {
		o.name(name)
		o.b = strconv.AppendInt(o.b, n, 10)
	}
}

func (o *objectWriter) flag(name string, set bool) {
	if set {
		o.name(name)
		o.b = append(o.b, "true"...)
	}
}

func (o *objectWriter) element(i int, name string) {
	if i > 0 {
		o.b = append(o.b, ',')
		return
	}
	o.name(name)
	o.b = append(o.b, '[')
}

func (o *objectWriter) closed(n int) {
	if n > 0 {
		o.b = append(o.b, ']')
	}
}

func (o *objectWriter) text(s string) {
	if plain(s) {
		o.b = append(append(append(o.b, '"'), s...), '"')
		return
	}
	raw, _ := json.Marshal(s) // a string always can
	o.b = append(o.b, raw...)
}

// parseFacts reads what appendJSON wrote, in whatever order Postgres keeps it.
func parseFacts(raw []byte) (f facts, err error) {
	if f.parse(raw) {
		return f, nil
	}
	f = facts{}
	return f, json.Unmarshal(raw, &f)
}

// parse is json.Unmarshal for what the fold itself wrote; false: it is something else.
func (f *facts) parse(raw []byte) bool {
	return eachMember(raw, func(key, value []byte) (ok bool) {
		switch string(key) {
		case "slot":
			f.Slot, ok = integerOf(value)
		case "start":
			f.Start, ok = integerOf(value)
		case "planned":
			f.Planned, ok = flagOf(value)
		case "held_out":
			f.HeldOut, ok = flagOf(value)
		case "skipped":
			f.Skipped, ok = flagOf(value)
		case "attempts":
			ok = eachMember(value, f.parseAttempt)
		case "links":
			ok = intOf(value, &f.Links)
		case "delivered":
			f.Delivered, ok = flagOf(value)
		case "bounced":
			f.Bounced, ok = flagOf(value)
		case "complained":
			ok = intOf(value, &f.Complained)
		case "unsubscribed":
			ok = intOf(value, &f.Unsubscribed)
		case "opens":
			ok = eachMember(value, f.parseOpen)
		case "more_opens":
			ok = intOf(value, &f.MoreOpens)
		case "machine_opens":
			ok = intOf(value, &f.MachineOpens)
		case "clicks":
			ok = eachMember(value, f.parseClick)
		case "more_clicks":
			ok = intOf(value, &f.MoreClicks)
		case "more_machine_clicks":
			ok = intOf(value, &f.MoreMachineClicks)
		case "viewed":
			ok = intOf(value, &f.Viewed)
		case "cta":
			ok = intOf(value, &f.CTA)
		case "offer_accepted":
			ok = intOf(value, &f.OfferAccepted)
		case "offer_declined":
			ok = intOf(value, &f.OfferDeclined)
		}
		return ok
	})
}

func (f *facts) parseAttempt(_, value []byte) bool {
	var a attempt
	ok := eachMember(value, func(key, value []byte) (ok bool) {
		switch string(key) {
		case "n":
			ok = intOf(value, &a.Number)
		case "at":
			a.At, ok = integerOf(value)
		case "sent":
			a.Sent, ok = flagOf(value)
		case "accepted":
			a.Accepted, ok = flagOf(value)
		case "unknown":
			a.Unknown, ok = flagOf(value)
		case "rejected":
			a.Rejected, ok = flagOf(value)
		case "confirms":
			a.Confirms, ok = flagOf(value)
		}
		return ok
	})
	f.Attempts = append(f.Attempts, a)
	return ok
}

func (f *facts) parseOpen(_, value []byte) bool {
	at, ok := integerOf(value)
	f.Opens = append(f.Opens, at)
	return ok
}

func (f *facts) parseClick(_, value []byte) bool {
	var c click
	ok := eachMember(value, func(key, value []byte) (ok bool) {
		switch string(key) {
		case "at":
			c.At, ok = integerOf(value)
		case "link":
			c.Link, ok = textOf(value)
		case "machine":
			c.Flagged, ok = flagOf(value)
		}
		return ok
	})
	f.Clicks = append(f.Clicks, c)
	return ok
}

func flagOf(value []byte) (set, ok bool) {
	set = string(value) == "true"
	return set, set || string(value) == "false"
}

func intOf(value []byte, n *int) bool {
	v, ok := integerOf(value)
	*n = int(v)
	return ok
}
