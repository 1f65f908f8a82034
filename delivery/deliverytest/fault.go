package deliverytest

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Phase is the moment of an SMTP session a fault strikes at.
type Phase string

// Phases.
const (
	AtConnect Phase = "connect" // instead of the greeting
	AtMail    Phase = "mail"    // instead of the reply to MAIL
	AtRcpt    Phase = "rcpt"    // instead of the reply to RCPT
	AtData    Phase = "data"    // instead of the reply to DATA
	AtBody    Phase = "body"    // while the message comes in, before its final dot
	AtDot     Phase = "dot"     // after the final dot, instead of the reply
)

// Fault is one rule of the script. Rules are tried in order; the first that
// matches strikes. One of Reply, Close and Hang says what happens after Delay;
// with none of them the session goes on.
type Fault struct {
	At      Phase
	To      string  // only for this recipient (phases rcpt and later); "": for all
	Percent float64 // of the matching moments, drawn from the sink's seed; 0: all
	Skip    int     // the first so many matching moments are spared
	Times   int     // strikes at most so often; 0: without end

	Delay time.Duration // before anything else; at AtBody: for each 16 KB read
	Reply string        // "451 4.3.0 try later"; a 421 closes afterwards
	Close bool          // hang up without a reply
	Hang  bool          // say nothing more until the client hangs up
	Take  bool          // AtDot with Close or Hang: the message counts as accepted
}

// script is a list of faults with its state.
type script struct {
	mu     sync.Mutex
	faults []Fault
	seen   []int
	struck []int
	rnd    *rand.Rand
}

func (s *script) set(faults []Fault, seed uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = faults
	s.seen, s.struck = make([]int, len(faults)), make([]int, len(faults))
	s.rnd = rand.New(rand.NewPCG(seed, 7))
}

// strike returns the fault for a moment, if any.
func (s *script) strike(at Phase, to string) (Fault, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.faults {
		f := &s.faults[i]
		if f.At != at || f.To != "" && !strings.EqualFold(f.To, to) {
			continue
		}
		if s.seen[i]++; s.seen[i] <= f.Skip {
			continue
		}
		if f.Times > 0 && s.struck[i] >= f.Times {
			continue
		}
		if f.Percent > 0 && s.rnd.Float64()*100 >= f.Percent {
			continue
		}
		s.struck[i]++
		return *f, true
	}
	return Fault{}, false
}

// ParseFault reads the form of a command line:
//
//	dot,percent=5,reply=451 4.3.0 try later
//	rcpt,to=a@example.com,reply=550 5.1.1 unknown
//	dot,times=1,take,close
func ParseFault(s string) (Fault, error) {
	words := strings.Split(s, ",")
	f := Fault{At: Phase(words[0])}
	switch f.At {
	case AtConnect, AtMail, AtRcpt, AtData, AtBody, AtDot:
	default:
		return f, fmt.Errorf("parse fault: unknown phase %q", words[0])
	}
	for _, w := range words[1:] {
		name, v, _ := strings.Cut(w, "=")
		var err error
		switch name {
		case "to":
			f.To = v
		case "percent":
			f.Percent, err = strconv.ParseFloat(v, 64)
		case "skip":
			f.Skip, err = strconv.Atoi(v)
		case "times":
			f.Times, err = strconv.Atoi(v)
		case "delay":
			f.Delay, err = time.ParseDuration(v)
		case "reply":
			f.Reply = v
		case "close":
			f.Close = true
		case "hang":
			f.Hang = true
		case "take":
			f.Take = true
		default:
			err = fmt.Errorf("unknown word %q", name)
		}
		if err != nil {
			return f, fmt.Errorf("parse fault: %w", err)
		}
	}
	return f, nil
}

// String describes a fault as ParseFault reads it.
func (f Fault) String() string {
	s := string(f.At)
	for _, w := range []struct {
		set  bool
		word string
	}{
		{f.To != "", "to=" + f.To},
		{f.Percent > 0, fmt.Sprintf("percent=%g", f.Percent)},
		{f.Skip > 0, fmt.Sprintf("skip=%d", f.Skip)},
		{f.Times > 0, fmt.Sprintf("times=%d", f.Times)},
		{f.Delay > 0, "delay=" + f.Delay.String()},
		{f.Take, "take"}, {f.Close, "close"}, {f.Hang, "hang"},
		{f.Reply != "", "reply=" + f.Reply},
	} {
		if w.set {
			s += "," + w.word
		}
	}
	return s
}
