// Command kairos-chaos breaks a running installation on purpose and counts, at
// the receiving side, what came of it. `make chaos` runs it;
// docs/reliability.md tells what each scenario does and keeps a run.
//
// Takes: which scenarios, how large, a seed, and the Postgres and Redis that
// are installed.
// Gives: a markdown table on standard output (--json: one JSON object), what
// goes on meanwhile on standard error.
// Owns: the processes it starts (`kairos serve` by role, Postgres, Redis), the
// counters that stand for the providers, and one temporary directory.
// Promises: the server is the binary that is shipped, in processes of its own;
// what it says of itself is only believed where an independent counter agrees;
// nothing it started outlives it.
// Fails: with status 1 when a promise is broken or a scenario can't be run to
// its end; the line says which promise, and how to repeat it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

type cli struct {
	Only []string `help:"Scenarios to run; default: all. A number runs its group."`
	Size string   `help:"full: as docs/reliability.md says, about an hour. short: each fault at least once, minutes." enum:"full,short" default:"short"`
	Seed uint64   `help:"Of the moments at which faults strike. Default: one from the clock; it is printed."`
	Old  string   `help:"Commit or tag whose binary runs beside this one in old-and-new. Default: the newest tag before this commit." placeholder:"REF"`
	JSON bool     `help:"Print JSON; the table goes to standard error."`
	Keep bool     `help:"Leave the temporary directory with the logs."`
	List bool     `help:"List the scenarios."`
}

func main() {
	var c cli
	kong.Parse(&c, kong.Name("kairos-chaos"), kong.Description("Breaks a running Kairos on purpose and counts what came of it."))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := c.run(ctx, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "kairos-chaos:", err)
		os.Exit(1)
	}
}

// run runs what was asked for, one scenario after another.
func (c *cli) run(ctx context.Context, out io.Writer) (err error) {
	if c.List {
		for _, s := range scenarios {
			if _, err := fmt.Fprintf(out, "%2d  %-26s  %s\n", s.group, s.name, s.about); err != nil {
				return err
			}
		}
		return nil
	}
	chosen, err := choose(c.Only)
	if err != nil {
		return err
	}
	if c.Seed == 0 {
		c.Seed = uint64(time.Now().UnixMicro())
	}
	s, err := newSuite(suiteOptions{Full: c.Size == "full", Seed: c.Seed, Old: c.Old, Keep: c.Keep, Log: os.Stderr})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	r := &report{Conditions: s.conditions(ctx), Seed: c.Seed, Size: c.Size}
	for _, sc := range chosen {
		r.Results = append(r.Results, s.run(ctx, sc))
		if ctx.Err() != nil {
			break
		}
	}
	table := out
	if c.JSON {
		table = os.Stderr
	}
	if _, err := io.WriteString(table, r.markdown()); err != nil {
		return err
	}
	if c.JSON {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		if err := enc.Encode(r); err != nil {
			return err
		}
	}
	if bad := r.broken(); len(bad) > 0 {
		return fmt.Errorf("broken: %s", strings.Join(bad, ", "))
	}
	return ctx.Err()
}
