package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

type serveCmd struct {
	settings
	Roles []string `help:"What this process does: api, track, creation, orchestration, delivery, analysis." env:"KAIROS_ROLES" default:"${roles}"`
}

// Run serves until it is told to stop.
func (c *serveCmd) Run(ctx context.Context, t *terminal) error {
	if c.DatabaseURL == "" || c.RedisURL == "" {
		return fmt.Errorf("KAIROS_DATABASE_URL and KAIROS_REDIS_URL must be set (try `kairos dev` for a first look)")
	}
	for _, r := range c.Roles {
		if !slices.Contains(roles, r) {
			return fmt.Errorf("there is no role %q: %s", r, strings.Join(roles, ", "))
		}
	}
	if slices.Contains(c.EmailProvider, "inbox") {
		return fmt.Errorf("the provider inbox is for `kairos dev`: set KAIROS_EMAIL_PROVIDER to smtp or sendgrid")
	}
	p, err := assemble(ctx, c.settings, c.Roles, nil)
	if err != nil {
		return err
	}
	if err := t.print(map[string]any{"url": p.url(), "roles": c.Roles}, "serving "+strings.Join(c.Roles, ", ")+" on "+p.url()); err != nil {
		return err
	}
	return p.run(ctx)
}
