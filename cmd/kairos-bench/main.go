// Command kairos-bench measures the platform's main paths on real parts and
// sets each beside a ceiling measured in the same run, so that a ratio holds
// on any machine. `make bench` runs it; docs/performance.md keeps the results.
//
// Takes: which paths (--list tells what each is), how large, and the Postgres
// and Redis that are installed.
// Gives: a markdown table on standard output (--json: one JSON object), what
// goes on meanwhile on standard error, and profiles where asked.
// Owns: the processes it starts (`kairos serve` by role, Postgres, Redis, a
// sink for mail, a server of SendGrid's format) and one temporary directory.
// Promises: the server is the binary that is shipped, in processes of its own,
// with durable commits; what was measured is verified afterwards (nobody
// missing, nobody twice, every acknowledged click in the log, reports equal to
// a recount).
// Fails: with status 1 when a path breaks or its verification does; then the
// figures don't count.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

type cli struct {
	Only        []string          `help:"Paths to measure, or all. Default: ${usual}. --list tells what each is." placeholder:"PATH"`
	Size        string            `help:"full: as docs/performance.md says. small: to see that it works. huge: growth to ten million, else as full." enum:"full,small,huge" default:"full"`
	Scale       float64           `help:"Multiplies the size's counts of contacts, messages, recipients, events and campaigns, as 0.1." default:"1"`
	Contacts    int               `help:"Contacts of import and plan, in place of the size's."`
	Messages    int               `help:"Messages of smtp, in place of the size's."`
	Seconds     int               `help:"How long each drive of clicks lasts, in place of the size's."`
	Rate        int               `help:"Clicks a second of sustained, in place of the size's."`
	Connections int               `help:"Connections of a sender to the sink." default:"10"`
	SinkDelay   time.Duration     `help:"How long the sink of smtp takes for each message; 0: as fast as it can."`
	JSON        bool              `help:"Print JSON; the table goes to standard error."`
	Profile     string            `help:"Write CPU and heap profiles of the processes and Postgres' statement statistics to this directory; costs some speed." type:"path" placeholder:"DIR"`
	Postgres    map[string]string `help:"Settings of Postgres over the usual ones, as shared_buffers=4GB." placeholder:"NAME=VALUE"`
	Keep        bool              `help:"Leave the temporary directory with the logs."`
	List        bool              `help:"List the paths."`

	sizes    sizes
	inMemory bool // a test's installations: nothing is durable, and no figure counts
}

func main() {
	if runPart() {
		return
	}
	var c cli
	kong.Parse(&c, kong.Name("kairos-bench"), kong.Vars{"usual": strings.Join(usual, ",")},
		kong.Description("Measures the platform's main paths beside their ceilings."))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := c.run(ctx, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "kairos-bench:", err)
		os.Exit(1)
	}
}

// asPart in the environment makes this program a part of a measurement.
const asPart = "KAIROS_BENCH_PART"

// parts are the other processes this program can be.
var parts = map[string]func(args []string, out io.Writer) error{
	"sink": runSink,
	"grid": runGrid,
	"noop": runNoop,
}

// runPart is this process as a part; false when it isn't one.
func runPart() bool {
	if os.Getenv(asPart) == "" {
		return false
	}
	part := parts[os.Args[1]]
	if err := part(os.Args[2:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "kairos-bench:", err)
		os.Exit(1)
	}
	return true
}

func (c *cli) defaults() error {
	switch {
	case len(c.Only) == 0:
		c.Only = usual
	case slices.Contains(c.Only, "all"):
		c.Only = names()
	}
	for _, p := range c.Only {
		if !slices.Contains(names(), p) {
			return fmt.Errorf("there is no path %q: %s, all", p, strings.Join(names(), ", "))
		}
	}
	if c.sizes.Contacts == 0 { // a test brings its own
		c.sizes = sizesOf[c.Size].times(c.Scale)
	}
	set := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	set(&c.Contacts, c.sizes.Contacts)
	set(&c.Messages, c.sizes.Messages)
	set(&c.Seconds, c.sizes.Seconds)
	set(&c.Rate, c.sizes.Rate)
	return nil
}

func (c *cli) has(path string) bool { return slices.Contains(c.Only, path) }

// run measures what was asked for.
func (c *cli) run(ctx context.Context, out io.Writer) (err error) {
	if c.List {
		for _, p := range paths {
			if _, err := fmt.Fprintf(out, "%-10s %s\n", p.name, p.about); err != nil {
				return err
			}
		}
		return nil
	}
	if err := c.defaults(); err != nil {
		return err
	}
	b, err := newBench(ctx, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	if err := b.measure(ctx); err != nil {
		return err
	}
	if c.JSON {
		if _, err := io.WriteString(os.Stderr, b.report.markdown()); err != nil {
			return err
		}
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(b.report)
	}
	_, err = io.WriteString(out, b.report.markdown())
	return err
}

func wrap(what string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
