// Command kairos is the whole platform in one binary: `kairos dev` runs it on
// a laptop, `kairos serve` in production, the other commands talk to either.
//
// Takes: flags, over environment (KAIROS_*), over a YAML file.
// Gives: the processes of the pipeline, and command-line access to the API.
// Owns: wiring, configuration, the process's life.
// Promises: what it starts it stops, in the reverse order; on SIGINT and
// SIGTERM it finishes what is in flight and leaves nothing behind.
// Fails: with one clear line and status 1; status 2 for bad usage, 75 where a
// mail server is to hand its message over again.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	_ "time/tzdata" // zones do not depend on the machine

	"github.com/alecthomas/kong"
)

// version is set by the linker for releases.
var version = "dev"

type cli struct {
	Dev      devCmd      `cmd:"" help:"Run everything on local parts it starts itself; all mail lands in an inbox page."`
	Demo     demoCmd     `cmd:"" help:"Run dev with a sample audience and simulated people, and print the reports."`
	Serve    serveCmd    `cmd:"" help:"Run the roles of a production process on your Postgres and Redis."`
	Migrate  migrateCmd  `cmd:"" help:"Bring the database to this version."`
	Keys     keysCmd     `cmd:"" help:"Create, list and revoke API keys."`
	Contacts contactsCmd `cmd:"" help:"Import contacts through the API."`
	Campaign campaignCmd `cmd:"" help:"Launch and follow campaigns through the API."`
	Report   reportCmd   `cmd:"" help:"Print a campaign's reports."`
	Events   eventsCmd   `cmd:"" help:"Print the event log, whole or in part, once or as it grows; as words, JSON lines, CSV or Parquet."`
	DTO      dtoCmd      `cmd:"" name:"dto" help:"Train, judge and evaluate the models of delivery times."`
	Unknowns unknownsCmd `cmd:"" help:"List the attempts whose fate is open, and decide about them."`
	Bounce   bounceCmd   `cmd:"" help:"Hand a bounce message from standard input to the server: for a mail server's pipe."`
	Restore  restoreCmd  `cmd:"" help:"Freeze and release delivery after a restore from a backup."`
	Replay   replayCmd   `cmd:"" help:"Rebuild the reports from the event log."`
	Version  versionCmd  `cmd:"" help:"Print the version."`

	JSON     bool            `help:"Print JSON, one value a line."`
	Config   kong.ConfigFlag `help:"YAML file with the flags' names as keys; environment and flags win over it." placeholder:"FILE" env:"KAIROS_CONFIG"`
	LogLevel string          `help:"Least level to log: debug, info, warn, error. Default: info for serve, warn otherwise." enum:"debug,info,warn,error," default:"" env:"KAIROS_LOG_LEVEL"`
}

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is main with its surroundings as arguments, so that tests call it.
func run(args []string, stdout, stderr io.Writer) int {
	var c cli
	var exited *int
	parser, err := kong.New(&c,
		kong.Name("kairos"),
		kong.Description("Notifications at the opportune moment: whether, by which channel, when, and whether it helped."),
		kong.Configuration(yamlResolver),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { exited = &code }),
		kong.UsageOnError(),
		kong.Vars{"version": version, "roles": strings.Join(roles, ",")},
	)
	if err != nil {
		fmt.Fprintln(stderr, "kairos:", err)
		return 2
	}
	kctx, err := parser.Parse(args)
	if exited != nil {
		return *exited
	}
	if err != nil {
		fmt.Fprintln(stderr, "kairos:", err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	t := &terminal{out: stdout, err: stderr, json: c.JSON}
	slog.SetDefault(slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: c.level(kctx.Command())})))
	kctx.BindTo(ctx, (*context.Context)(nil))
	kctx.Bind(t)
	if err := kctx.Run(); err != nil && !(errors.Is(err, context.Canceled) && ctx.Err() != nil) {
		fmt.Fprintln(stderr, "kairos:", err)
		return statusOf(err)
	}
	return 0
}

// level is the one asked for, or the command's own.
func (c *cli) level(command string) (l slog.Level) {
	if c.LogLevel == "" {
		c.LogLevel = "warn"
		if command == "serve" {
			c.LogLevel = "info"
		}
	}
	_ = l.UnmarshalText([]byte(c.LogLevel)) // one of four words that are levels
	return l
}

type versionCmd struct{}

// Run prints the version.
func (versionCmd) Run(t *terminal) error {
	return t.print(map[string]string{"version": version}, "kairos "+version)
}
