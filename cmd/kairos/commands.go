package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"kairos"
	"kairos/analysis"
	"kairos/api"
	"kairos/internal/eventlog"
	"kairos/internal/pg"
	"kairos/migrations"
)

// database is what the commands share that work on Postgres directly.
type database struct {
	DatabaseURL string `help:"Postgres, as postgres://user:password@host/database." env:"KAIROS_DATABASE_URL" placeholder:"URL" required:""`
}

type migrateCmd struct{ database }

// Run migrates and makes the partitions of the coming days.
func (c *migrateCmd) Run(ctx context.Context, t *terminal) error {
	if err := migrations.Up(ctx, c.DatabaseURL); err != nil {
		return err
	}
	pool, err := pg.Open(ctx, c.DatabaseURL)
	if err != nil {
		return err
	}
	defer pool.Close()
	if _, err := eventlog.EnsurePartitions(ctx, pool, time.Now(), 1, partitionsAhead); err != nil {
		return err
	}
	at, _, err := migrations.Version(ctx, pool)
	if err != nil {
		return err
	}
	return t.print(map[string]int64{"version": at}, fmt.Sprintf("database is at version %d", at))
}

type keysCmd struct {
	Create keysCreateCmd `cmd:"" help:"Create a key; it is shown once."`
	List   keysListCmd   `cmd:"" help:"List keys without their secrets."`
	Revoke keysRevokeCmd `cmd:"" help:"Revoke a key; it holds within a second."`
}

type keysCreateCmd struct {
	database
	Name   string   `arg:"" help:"What the key is for."`
	Env    string   `help:"Shown in the key: live, test." default:"live"`
	Scopes []string `help:"contacts:write, campaigns:launch, reports:read, events:write, dto:promote, admin." default:"admin"`
}

// Run creates the key.
func (c *keysCreateCmd) Run(ctx context.Context, t *terminal) error {
	pool, err := pg.Open(ctx, c.DatabaseURL)
	if err != nil {
		return err
	}
	defer pool.Close()
	key, id, err := api.NewKeys(pool, kairos.SystemClock{}).Create(ctx, api.NewKey{Env: c.Env, Name: c.Name, Scopes: c.Scopes})
	if err != nil {
		return err
	}
	return t.print(map[string]string{"id": id, "api_key": key}, key)
}

type keysListCmd struct{ database }

// Run lists the keys.
func (c *keysListCmd) Run(ctx context.Context, t *terminal) error {
	pool, err := pg.Open(ctx, c.DatabaseURL)
	if err != nil {
		return err
	}
	defer pool.Close()
	keys, err := api.NewKeys(pool, kairos.SystemClock{}).List(ctx)
	if err != nil {
		return err
	}
	for _, k := range keys {
		state := "valid"
		if k.RevokedAt != nil {
			state = "revoked " + k.RevokedAt.Format(time.RFC3339)
		}
		err := t.print(map[string]any{"id": k.ID, "name": k.Name, "scopes": k.Scopes, "created_at": k.CreatedAt, "revoked_at": k.RevokedAt},
			fmt.Sprintf("%s  %-20s  %s  %s", k.ID, k.Name, strings.Join(k.Scopes, ","), state))
		if err != nil {
			return err
		}
	}
	return nil
}

type keysRevokeCmd struct {
	database
	ID string `arg:"" help:"The key's id, its third part."`
}

// Run revokes the key.
func (c *keysRevokeCmd) Run(ctx context.Context, t *terminal) error {
	pool, err := pg.Open(ctx, c.DatabaseURL)
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := api.NewKeys(pool, kairos.SystemClock{}).Revoke(ctx, c.ID); err != nil {
		return err
	}
	return t.print(map[string]string{"revoked": c.ID}, "revoked "+c.ID)
}

type replayCmd struct{ database }

// Run rebuilds everything that is folded from the log.
func (c *replayCmd) Run(ctx context.Context, t *terminal) error {
	pool, err := pg.Open(ctx, c.DatabaseURL)
	if err != nil {
		return err
	}
	defer pool.Close()
	began := time.Now()
	if err := analysis.New(pool, kairos.SystemClock{}, analysis.Options{}).Rebuild(ctx); err != nil {
		return err
	}
	return t.print(map[string]any{"seconds": time.Since(began).Seconds()},
		fmt.Sprintf("reports rebuilt from the event log in %s", time.Since(began).Round(time.Millisecond)))
}
