package content

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/osteele/liquid/render"

	"kairos"
)

// RenderError says that one person's message can't be made. It holds no value.
type RenderError struct {
	Part   string // subject, html or text
	Reason string
	cause  error
}

// Error implements error.
func (e *RenderError) Error() string { return "render " + e.Part + ": " + e.Reason }

// Unwrap returns the context's or the Tracker's error, kairos.ErrUnavailable
// when time ran out, or nil.
func (e *RenderError) Unwrap() error { return e.cause }

// Is makes errors.Is(err, kairos.ErrPermanent) true, unless the cause may pass:
// the context ended, the Tracker failed, or time ran out, which a stalled
// machine can bring about too.
func (e *RenderError) Is(target error) bool { return target == kairos.ErrPermanent && e.cause == nil }

// stop is what a rendering panics with to leave the engine; the engine passes on
// a panic that isn't an error. The reason is in machine.err.
type stop struct{}

// machineName is where tags find the machine among the variables; no template
// can spell it.
const machineName = "\x00machine"

// machine is the scratch of one rendering: its budget, its variables and the
// engine's configuration, whose filters work on the machine.
type machine struct {
	cfg     render.Config
	ctx     context.Context
	data    Data
	tracker Tracker
	probing bool // at save: a destination may lack what only data can give

	part     field
	deadline time.Time
	steps    int
	bytes    int
	err      *RenderError

	vars     map[string]any // built when the engine is first needed
	counters map[string]int // of increment and decrement
	links    []trackedLink  // by number - 1
	unsub    string
	hasUnsub bool
	out      bytes.Buffer
}

type trackedLink struct{ destination, url string }

func newMachine() *machine {
	m := &machine{}
	m.cfg = engine(m)
	return m
}

// begin makes the machine ready for one message.
func (m *machine) begin(ctx context.Context, data Data, t Tracker, links int) {
	m.ctx, m.data, m.tracker = ctx, data, t
	m.deadline = time.Now().Add(MaxTime)
	if cap(m.links) < links {
		m.links = make([]trackedLink, links)
	}
	m.links = m.links[:links]
}

// end forgets the message.
func (m *machine) end() {
	clear(m.links)
	clear(m.counters)
	m.ctx, m.data, m.tracker, m.vars, m.err = nil, nil, nil, nil, nil
	m.unsub, m.hasUnsub, m.probing = "", false, false
	m.steps, m.bytes = 0, 0
	m.out.Reset()
	if m.out.Cap() > 64<<10 {
		m.out = bytes.Buffer{}
	}
}

// fail ends the rendering.
func (m *machine) fail(reason string, cause error) {
	if m.err == nil {
		m.err = &RenderError{Part: string(m.part), Reason: reason, cause: cause}
	}
	panic(stop{})
}

// tick counts a step. Long renderings look at the clock and the context now and
// then; a short one doesn't, so that a stalled process can't fail it.
func (m *machine) tick() {
	if m.steps++; m.steps > maxSteps {
		m.fail("takes too many steps", nil)
	}
	if m.steps%32 == 0 && (m.steps > 1000 || m.bytes > 256<<10) {
		m.watch()
	}
}

func (m *machine) watch() {
	if err := m.ctx.Err(); err != nil {
		m.fail("is cancelled", err)
	}
	if time.Now().After(m.deadline) {
		m.fail("takes longer than 200 ms", kairos.ErrUnavailable)
	}
}

// charge accounts for n bytes of values before or after they are made.
func (m *machine) charge(n int) {
	if n > MaxOutput {
		m.fail("makes a value larger than 1 MB", nil)
	}
	before := m.bytes >> 16
	if m.bytes += n; m.bytes > maxBytes {
		m.fail("makes values of more than 16 MB", nil)
	}
	if m.bytes>>16 != before {
		m.watch()
	}
}

// variables returns the engine's bindings.
func (m *machine) variables() map[string]any {
	if m.vars == nil {
		m.vars = make(map[string]any, len(m.data)+2)
		for k, v := range m.data {
			m.vars[k] = v
		}
		m.vars["unsubscribe_url"] = m.unsubscribe()
		m.vars[machineName] = m
	}
	return m.vars
}

func (m *machine) unsubscribe() string {
	if !m.hasUnsub {
		m.hasUnsub = true
		m.unsub = "#"
		if m.tracker != nil {
			m.unsub = m.tracker.Unsubscribe()
		}
	}
	return m.unsub
}

func (m *machine) pixel() string {
	if m.tracker == nil {
		return ""
	}
	return m.tracker.Pixel()
}

// follow checks a rendered destination and returns the URL that tracks it.
func (m *machine) follow(no uint16, destination string) string {
	dest, err := cleanDestination(destination)
	if err != nil {
		if !m.probing || !errors.Is(err, errIncomplete) {
			m.fail("has a link that "+err.Error(), nil)
		}
		dest = "https://incomplete.invalid/"
	}
	l := &m.links[no-1]
	if l.url != "" && l.destination == dest {
		return l.url
	}
	return m.link(l, no, dest)
}

// link asks the Tracker for the URL of a clean destination.
func (m *machine) link(l *trackedLink, no uint16, dest string) string {
	u := dest
	if m.tracker != nil {
		var err error
		if u, err = m.tracker.Link(no, dest); err != nil {
			m.fail("has a link that can't be tracked", err)
		}
	}
	l.destination, l.url = dest, u
	return u
}

// limitWriter collects output of at most limit bytes.
type limitWriter struct {
	m     *machine
	buf   *bytes.Buffer
	limit int
}

// Write implements io.Writer; past the limit it ends the rendering.
func (w limitWriter) Write(p []byte) (int, error) {
	if w.buf.Len()+len(p) > w.limit {
		w.m.fail("is larger than its limit", nil)
	}
	w.m.tick()
	return w.buf.Write(p)
}

// run renders a node of the engine.
func (m *machine) run(n render.Node) string {
	m.out.Reset()
	// The engine's own errors quote values, so they are not passed on.
	if err := render.Render(n, limitWriter{m, &m.out, MaxOutput}, m.variables(), m.cfg); err != nil {
		m.fail("has a value that doesn't fit its use", nil)
	}
	return m.out.String()
}
