package orchestration

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"kairos"
)

// stored is a decision as it was written down.
type stored struct {
	e        *Explanation
	c        *campaign
	told     told
	eligible *mask
	decided  time.Time
	loc      *time.Location
	zoneNow  string // the contact's today
	out      []RuleOutcome
}

func (d *stored) say(rule, format string, args ...any) {
	d.out = append(d.out, RuleOutcome{rule, fmt.Sprintf(format, args...)})
}

// rules lists the rules as they answered. The ones before the reason of a skip
// passed, for the first to fail ends the questions.
func (d *stored) rules() []RuleOutcome {
	reason := kairos.Reason("")
	if d.e.Reason != nil {
		reason = kairos.Reason(*d.e.Reason)
	}
	skipped := d.e.State == kairos.StateSkipped
	for _, r := range consentRules {
		if skipped && r.reason == reason {
			d.say(r.name, "%s", reason)
			return d.out
		}
		d.say(r.name, "passed")
	}
	d.zone(reason)
	optimised := d.c.spec.Schedule.Mode == kairos.ModeOptimised
	if optimised {
		d.window()
	}
	if skipped {
		d.say(refused(d.c, reason), "%s", reason)
		return d.out
	}
	d.quiet(optimised)
	d.arms(optimised)
	d.say("schedule_"+d.c.spec.Schedule.Mode, "%s", d.moment())
	return d.out
}

// refused names the rule behind a skip that no rule of consent made.
func refused(c *campaign, r kairos.Reason) string {
	switch r {
	case kairos.ReasonQuietHours:
		return "quiet_hours"
	case kairos.ReasonLatest:
		return "latest"
	}
	return "schedule_" + c.spec.Schedule.Mode
}

func (d *stored) zone(reason kairos.Reason) {
	said := d.e.Slot.Zone
	switch {
	case reason == kairos.ReasonUnknownZone:
		said = "unknown, the default " + said + " was used"
	case d.zoneNow != "" && d.zoneNow != d.e.Slot.Zone:
		said += ", as it was decided; the contact's is " + d.zoneNow + " now, and the moment stays"
	}
	d.say("zone", "%s", said)
}

const clock = "Mon 15:04"

// window tells from when to when hours could be chosen, and whether the clocks
// are set in between.
func (d *stored) window() {
	start, end := d.c.from(d.decided), d.c.end()
	if !start.Before(end) {
		d.say("window", "it ended %s", end.In(d.loc).Format(clock))
		return
	}
	said := fmt.Sprintf("%s to %s", start.In(d.loc).Format(clock), end.In(d.loc).Format(clock))
	if _, next := start.In(d.loc).ZoneBounds(); !next.IsZero() && next.Before(end) {
		before := time.FixedZone("", int(offset(next.Add(-time.Second), d.loc)/time.Second))
		said += fmt.Sprintf("; in it clocks go from %s to %s", next.In(before).Format(clock), next.In(d.loc).Format("15:04"))
	}
	d.say("window", "%s", said)
}

func offset(t time.Time, loc *time.Location) time.Duration {
	_, seconds := t.In(loc).Zone()
	return time.Duration(seconds) * time.Second
}

// quiet tells what quiet hours did: the hours of the window that were not
// allowed, or where they moved the moment to.
func (d *stored) quiet(optimised bool) {
	switch {
	case !optimised && !d.c.spec.Marketing():
		return
	case !optimised:
		at := d.c.moment(d.decided, d.loc)
		if d.e.Slot.UTC.Sub(at) < time.Second {
			d.say("quiet_hours", "passed")
			return
		}
		d.say("quiet_hours", "moved from %s to %s", at.In(d.loc).Format(clock), d.e.Slot.Local)
	case d.eligible == nil:
	default:
		all := hoursOf(d.c.from(d.decided), d.c.end(), d.loc)
		out := *maskOf(all)
		n := out.len()
		for i := range out {
			out[i] &^= d.eligible[i]
		}
		if out.len() == 0 {
			d.say("quiet_hours", "passed: all %d local hours of the window are allowed", n)
			return
		}
		d.say("quiet_hours", "%d of the window's %d local hours are left out: %s", out.len(), n, out.spans(all))
	}
}

// spans writes the hours that are in the set as "Mon 22:00 to Tue 06:59".
func (m *mask) spans(hours []hour) string {
	var list []string
	for i := 0; i < len(hours); i++ {
		if !m.has(hours[i].slot) {
			continue
		}
		first := hours[i].slot
		for i+1 < len(hours) && m.has(hours[i+1].slot) {
			i++
		}
		list = append(list, fmt.Sprintf("%s to %s:59", first, strings.TrimSuffix(hours[i].slot.String(), ":00")))
	}
	return strings.Join(list, ", ")
}

// arms tells the experiment and each draw in it.
func (d *stored) arms(optimised bool) {
	x, held := &d.c.experiment, d.e.State == kairos.StateHeldOut
	u := draw(d.e.Campaign, d.e.Contact, "arm")
	if !optimised {
		if x.Holdout > 0 {
			d.say("holdout", "%s: drew %.4f, held out are those below %.4f", choose(held, "held out", "written to"), u, x.Holdout)
		}
		return
	}
	d.say("experiment", "holdout %s, control %s, explore %s; %s", percent(x.Holdout), percent(x.Control), percent(x.Explore), d.models())
	d.say("holdout", "%s: drew %.4f, held out are those below %.4f", choose(held, "held out", "written to"), u, x.Holdout)
	if held {
		return
	}
	d.say("arm", "%s: drew %.4f, control are those below %.4f, explore those below %.4f",
		d.e.Arm, u, x.Holdout+x.Control, x.Holdout+x.Control+x.Explore)
	switch d.e.Arm {
	case kairos.ArmExplore:
		v, n := draw(d.e.Campaign, d.e.Contact, "slot"), len(d.e.Candidates)
		d.say("explore", "drew %.4f: the %s of %d allowed hours, each with the same chance", v, ordinal(min(int(v*float64(n)), n-1)+1), n)
	case kairos.ArmPreferred:
		d.say("preferred_hours", "%s", d.preferred())
		d.model(d.told.Asked, "hours asked for", "any of the hours asked for")
	case kairos.ArmOptimised:
		if d.told.Outside {
			d.say("preferred_hours", "none of the hours asked for is allowed in the window: the %s arm", d.e.Arm)
		}
		if x.canary != 0 {
			v := draw(d.e.Campaign, d.e.Contact, "canary")
			d.say("canary", "%s: drew %.4f, model %d, which is on trial, takes those below %.4f",
				choose(v < x.canaryShare, "on trial", "not on trial"), v, x.canary, x.canaryShare)
		}
		d.model(len(d.e.Candidates), "allowed hours", "the baseline time")
	}
}

// models names the models as they were when the experiment was fixed.
func (d *stored) models() string {
	x := &d.c.experiment
	said := "no model was active"
	if x.model != 0 {
		said = fmt.Sprintf("the rest by model %d", x.model)
	}
	if x.canary != 0 {
		said += fmt.Sprintf(", %s of it by model %d on trial", percent(x.canaryShare), x.canary)
	}
	return said
}

func (d *stored) preferred() string {
	if d.told.Asked == 0 {
		return "the person asked for this hour"
	}
	return fmt.Sprintf("the person asked for %d of %d allowed hours", d.told.Asked, len(d.e.Candidates))
}

// model tells which choice the hour was, or why no model chose.
func (d *stored) model(n int, among, fallback string) {
	hour := fmt.Sprintf("%02d:00", d.e.Slot.UTC.In(d.loc).Hour())
	switch v := d.told.Model; {
	case d.e.Model != nil:
		said := fmt.Sprintf("%s was the 1st choice of model %d", hour, *d.e.Model)
		if n > 0 {
			said += fmt.Sprintf(" among %d %s", n, among)
		}
		if d.told.Rank > 1 {
			said += fmt.Sprintf("; it is the %s of all its hours", ordinal(d.told.Rank))
		}
		d.say("model", "%s", said)
	case d.told.Fallback == noneAllowed:
		d.say("model", "none of the hours of model %d is among the %s: %s", v, among, fallback)
	case d.told.Fallback == noOrder:
		d.say("model", "model %d has no usable order of hours: %s", v, fallback)
	case d.c.experiment.model == 0:
		d.say("model", "none is active: %s", fallback)
	default:
		d.say("model", "none chose: %s", fallback)
	}
}

// moment is the local time, with a word where the clocks never showed the one
// that was asked for.
func (d *stored) moment() string {
	s := &d.c.spec.Schedule
	want, at := s.LocalTime, d.e.Slot.UTC
	switch {
	case s.Mode == kairos.ModeOptimised && d.baseline():
		want = d.c.baseline()
	case s.Mode != kairos.ModeLocal:
		return d.e.Slot.Local
	}
	local := at.In(d.loc)
	gap := (offset(at, d.loc) - offset(at.Add(-time.Second), d.loc)) / time.Minute
	skipped := time.Duration(local.Hour()*60+local.Minute()) - time.Duration(want.Hour()*60+want.Minute())
	if skipped > 0 && skipped <= gap {
		return fmt.Sprintf("%s, the first moment after the clocks skip %s", d.e.Slot.Local, want)
	}
	return d.e.Slot.Local
}

// baseline reports whether the slot is the baseline time.
func (d *stored) baseline() bool {
	return d.e.Model == nil && (d.e.Arm == kairos.ArmControl || d.e.Arm == kairos.ArmHoldout || d.e.Arm == kairos.ArmOptimised)
}

func choose(is bool, yes, no string) string {
	if is {
		return yes
	}
	return no
}

func percent(share float64) string { return strconv.FormatFloat(share*100, 'g', 4, 64) + " %" }

// ordinal returns "1st", "2nd", ...
func ordinal(n int) string {
	suffix := "th"
	if n/10%10 != 1 {
		switch n % 10 {
		case 1:
			suffix = "st"
		case 2:
			suffix = "nd"
		case 3:
			suffix = "rd"
		}
	}
	return strconv.Itoa(n) + suffix
}
