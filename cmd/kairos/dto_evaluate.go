package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"

	"kairos/dto/sim"
)

type dtoEvaluateCmd struct {
	Replications int    `help:"Replications of each error rate; power and lift take a tenth." default:"1000" placeholder:"N"`
	People       int    `help:"People in the worlds of the error rates." default:"1000" placeholder:"N"`
	Seed         uint64 `help:"Of the first replication; the same seed gives the same figures." default:"1" placeholder:"N"`
	Rhythms      string `help:"File of real rhythms to replay: lines user,day,hour_mask, plain or gzipped; - reads standard input." placeholder:"FILE"`
	Bench        bool   `help:"Measure time and memory for a million people as well."`
	Markdown     bool   `help:"Print the table as Markdown."`
}

// Validate implements kong's hook.
func (c *dtoEvaluateCmd) Validate() error {
	switch {
	case c.Replications < 4 || c.Replications > 1_000_000:
		return fmt.Errorf("--replications must be from 4 to 1,000,000")
	case c.People < 50 || c.People > 1_000_000:
		return fmt.Errorf("--people must be from 50 to 1,000,000")
	}
	return nil
}

// Run measures, printing each figure as it comes.
func (c *dtoEvaluateCmd) Run(ctx context.Context, t *terminal) error {
	days, err := c.days()
	if err != nil {
		return err
	}
	show := figureLine
	if c.Markdown {
		show = figureRow
	}
	if err := c.head(t); err != nil {
		return err
	}
	var bar *progress
	var step string
	var done int
	end := func() {
		if bar != nil {
			bar.done(int64(done))
			bar = nil
		}
	}
	var failed error
	figures, err := sim.Table(ctx, sim.TableOptions{
		Replications: c.Replications, People: c.People, Seed: c.Seed - 1, Days: days, Speed: c.Bench,
		Progress: func(name string, n, total int) {
			if name != step {
				end()
				step, bar = name, t.progress(name, int64(total))
			}
			if done = n; n > 0 && bar != nil {
				bar.set(int64(n), int64(total))
			}
		},
		Found: func(f sim.Figure) {
			end()
			if err := t.print(f, show(&f)); err != nil && failed == nil {
				failed = err
			}
		},
	})
	end()
	if err == nil {
		err = failed
	}
	if err != nil {
		return err
	}
	if t.json {
		return nil
	}
	return t.print(nil, "\n"+summary(figures))
}

// days reads the file of rhythms; without one there are none.
func (c *dtoEvaluateCmd) days() ([]sim.Day, error) {
	if c.Rhythms == "" {
		return nil, nil
	}
	file, name := os.Stdin, "standard input"
	if c.Rhythms != "-" {
		f, err := os.Open(c.Rhythms)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }()
		file, name = f, c.Rhythms
	}
	days, err := sim.ReadDays(file)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return days, nil
}

// head states the conditions, and names the columns.
func (c *dtoEvaluateCmd) head(t *terminal) error {
	if t.json {
		return nil
	}
	s := fmt.Sprintf("%d replications, %d people in the worlds of the error rates, seed %d; %s, %d cores, %s",
		c.Replications, c.People, c.Seed, runtime.Version(), runtime.GOMAXPROCS(0), runtime.GOARCH)
	if load := loadNow(); load != "" {
		s += ", load of the machine before it began " + load
	}
	if c.Rhythms == "" {
		s += "; no file of real rhythms, so nothing to replay"
	}
	if c.Markdown {
		return t.print(nil, s+".\n\n| figure | here | reference | target | reached | how |\n|---|---|---|---|---|---|")
	}
	return t.print(nil, s+"\n\n"+fmt.Sprintf(figureForm, "figure", "here", "reference", "target", "reached"))
}

const figureForm = "%-79s  %9s  %-21s  %-35s  %s"

func figureLine(f *sim.Figure) string {
	s := strings.TrimRight(fmt.Sprintf(figureForm, f.Name, figureValue(f), f.Reference, f.Target, reached(f)), " ")
	if f.Note != "" {
		s += "\n    " + f.Note
	}
	return s
}

func figureRow(f *sim.Figure) string {
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %s |", f.Name, figureValue(f), f.Reference, f.Target, reached(f), f.Note)
}

func figureValue(f *sim.Figure) string {
	if f.Unit == "" {
		return fmt.Sprintf("%.3f", f.Value)
	}
	return fmt.Sprintf("%.2f %s", f.Value, f.Unit)
}

func reached(f *sim.Figure) string {
	switch {
	case f.Target == "":
		return "-"
	case f.Reached:
		return "yes"
	}
	return "NO"
}

func summary(figures []sim.Figure) string {
	aimed, hit := 0, 0
	for i := range figures {
		if figures[i].Target != "" {
			aimed++
			if figures[i].Reached {
				hit++
			}
		}
	}
	return fmt.Sprintf("%d of %d targets reached", hit, aimed)
}

// loadNow is the load average of the last minute; "" where there is none.
func loadNow() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	first, _, _ := strings.Cut(string(b), " ")
	return first
}
