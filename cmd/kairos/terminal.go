package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// terminal is where a command talks to: words for people, or with --json one
// value a line for programs.
type terminal struct {
	out, err io.Writer
	json     bool
}

// print writes the value as a JSON line, or the words.
func (t *terminal) print(v any, words string) error {
	if t.json {
		return json.NewEncoder(t.out).Encode(v)
	}
	_, err := fmt.Fprintln(t.out, words)
	return err
}

// say writes progress for people to standard error; programs see nothing.
func (t *terminal) say(format string, args ...any) {
	if !t.json {
		_, _ = fmt.Fprintf(t.err, format+"\n", args...) // nothing to do where nobody listens
	}
}

// shown reports whether standard output is a screen.
func (t *terminal) shown() bool {
	f, ok := t.out.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// person reports whether somebody watches standard error.
func (t *terminal) person() bool {
	f, ok := t.err.(*os.File)
	return ok && !t.json && term.IsTerminal(int(f.Fd()))
}

// progress follows a growing count: a bar on a terminal, otherwise a plain
// line every few seconds.
type progress struct {
	t     *terminal
	what  string
	total int64
	bar   *progressbar.ProgressBar
	last  time.Time
	began time.Time
}

// progress starts one; total <= 0 is unknown.
func (t *terminal) progress(what string, total int64) *progress {
	p := &progress{t: t, what: what, total: total, began: time.Now()}
	if t.person() {
		if total <= 0 {
			total = -1
		}
		p.bar = progressbar.NewOptions64(total,
			progressbar.OptionSetWriter(t.err), progressbar.OptionSetDescription(what),
			progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionClearOnFinish())
	}
	return p
}

// set moves it to n of total.
func (p *progress) set(n, total int64) {
	if total > 0 {
		p.total = total
	}
	if p.bar != nil {
		if p.total > 0 && p.bar.GetMax64() != p.total {
			p.bar.ChangeMax64(p.total)
		}
		_ = p.bar.Set64(n) // a bar that can't be drawn is no failure
		return
	}
	if time.Since(p.last) < 3*time.Second {
		return
	}
	p.last = time.Now()
	if p.total > 0 {
		p.t.say("%s: %d of %d", p.what, n, p.total)
	} else {
		p.t.say("%s: %d", p.what, n)
	}
}

// done ends it with a line.
func (p *progress) done(n int64) {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
	took := time.Since(p.began)
	p.t.say("%s: %d in %s", p.what, n, took.Round(time.Millisecond))
}
