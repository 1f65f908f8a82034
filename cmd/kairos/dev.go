package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"kairos"
	"kairos/api"
	"kairos/internal/devstack"
)

type devCmd struct{ settings }

// devInfo is what `kairos dev --json` prints when it is ready.
type devInfo struct {
	URL         string `json:"url"`
	APIKey      string `json:"api_key"`
	InboxURL    string `json:"inbox_url"`
	DatabaseURL string `json:"database_url"`
	RedisURL    string `json:"redis_url"`
	PID         int    `json:"pid"`
}

// Run runs everything until it is told to stop.
func (c *devCmd) Run(ctx context.Context, t *terminal) error {
	d, err := startDev(ctx, c.settings, t)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	if err := t.print(d.info, d.words()); err != nil {
		return err
	}
	return d.run(ctx)
}

// dev is a system on parts of its own.
type dev struct {
	*system
	info  devInfo
	stack *devstack.Stack
	mail  *devstack.Mail
}

// startDev starts Postgres, Redis and the mail catcher, and assembles all
// roles on them. A port that is taken is replaced by a free one.
func startDev(ctx context.Context, s settings, t *terminal) (_ *dev, err error) {
	d := &dev{}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	// A simulation on throw-away parts has nothing to lose in a crash of the machine.
	o := devstack.Options{Fsync: s.domain == nil || s.DataDir != "", Progress: func(what string) { t.say("%s", what) }}
	if s.DataDir != "" {
		if err := os.MkdirAll(s.DataDir, 0o755); err != nil {
			return nil, fmt.Errorf("make data directory: %w", err)
		}
		o.Dir = filepath.Join(s.DataDir, "parts")
	}
	if d.stack, err = devstack.Start(ctx, o); err != nil {
		return nil, err
	}
	if s.DataDir == "" { // goes with the parts, also when this process is killed
		s.DataDir = filepath.Join(d.stack.Dir(), "kairos")
		if err := os.Mkdir(s.DataDir, 0o700); err != nil {
			return nil, fmt.Errorf("make data directory: %w", err)
		}
	}
	mail := devstack.MailOptions{}
	if s.domain != nil {
		mail.Clock = s.domain
	}
	if d.mail, err = devstack.StartMail(mail); err != nil {
		return nil, err
	}
	s.DatabaseURL, s.RedisURL = d.stack.DatabaseURL(), d.stack.RedisURL()
	if len(s.EmailProvider) == 0 {
		s.EmailProvider = []string{"inbox"}
	}
	if s.EmailFrom == "" {
		s.EmailFrom = "Kairos <kairos@example.com>"
	}
	s.Listen = freeUnless(s.Listen)
	if d.system, err = assemble(ctx, s, roles, d.mail); err != nil {
		return nil, err
	}
	key, _, err := api.NewKeys(d.pool, kairos.SystemClock{}).Create(ctx, api.NewKey{Env: "dev", Name: "kairos dev", Scopes: []string{"admin"}})
	if err != nil {
		return nil, err
	}
	d.info = devInfo{
		URL: d.url(), APIKey: key, InboxURL: d.url() + "/dashboard/inbox",
		DatabaseURL: s.DatabaseURL, RedisURL: s.RedisURL, PID: os.Getpid(),
	}
	return d, nil
}

func (d *dev) words() string {
	return fmt.Sprintf(`
Kairos is ready.

  API        %s/v1        (reference: %s/docs)
  dashboard  %s/dashboard
  inbox      %s
  API key    %s
  Postgres   %s
  Redis      %s

Stop it with Ctrl-C.`, d.info.URL, d.info.URL, d.info.URL, d.info.InboxURL, d.info.APIKey, d.info.DatabaseURL, d.info.RedisURL)
}

// close stops the parts after the system.
func (d *dev) close() error {
	var errs []error
	if d.system != nil {
		errs = append(errs, d.system.close())
	}
	if d.mail != nil {
		errs = append(errs, d.mail.Close())
	}
	if d.stack != nil {
		errs = append(errs, d.stack.Close())
	}
	return errors.Join(errs...)
}

// freeUnless returns the address, or one with a free port where it is taken.
func freeUnless(addr string) string {
	l, err := net.Listen("tcp", addr)
	if err == nil {
		_ = l.Close()
		return addr
	}
	host, _, splitErr := net.SplitHostPort(addr)
	if splitErr != nil {
		return addr // the real listen tells what is wrong with it
	}
	return net.JoinHostPort(host, "0")
}
