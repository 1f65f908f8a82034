// Package devstack runs the parts that Kairos stands on, privately and without
// any set-up, for `kairos dev` and for the tests: Postgres, Redis and a catcher
// of mail.
//
// Takes: the programs that are installed on the machine, and a directory.
// Gives: Stack (Postgres and Redis with a migrated database), Mail (an SMTP
// server that keeps what it gets), and for tests NewDB, NewDBURL, NewPostgres,
// NewRedis, NewRedisCluster and NewRedisSentinelServers.
// Owns: the processes it starts and the directory it was given.
// Promises: private ports, sockets, passwords and directories, so any number of
// stacks stand side by side; no process outlives this one, even when this one
// is killed with SIGKILL, and no temporary directory either; run as root the
// servers run as `postgres` or `nobody`; data in a named directory is kept.
// Fails: with a MissingError, one line that says what to install, when a
// program isn't there; with the end of the server's log when it doesn't start.
package devstack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"kairos/migrations"
)

// Options says how a Stack is run. The zero value is a throw-away stack.
type Options struct {
	// Dir keeps the data between runs. Empty: a temporary directory, removed
	// at the end. Root must choose one that other users can traverse.
	Dir string
	// Fsync makes commits durable against a crash of the machine.
	Fsync bool
	// EmbeddedRedis runs miniredis even where a Redis server is installed. It
	// is used anyway where none is.
	EmbeddedRedis bool
	// NoCache builds the cluster anew instead of copying one from the user's
	// cache directory.
	NoCache bool
	// InMemory puts a temporary directory on a file system in memory where the
	// machine has one with room (Linux: /dev/shm): starts in a fraction of the
	// time. For tests that move little data.
	InMemory bool
	// Settings are added to Postgres' parameters.
	Settings map[string]string
	// Progress is told what is going on, in clauses: "starting Postgres".
	Progress func(string)
}

// Stack is a running Postgres with the migrated database `kairos` and a running
// Redis.
type Stack struct {
	Postgres *Postgres
	Redis    *Redis

	dir        string
	undertaker *undertaker
	unlock     func()
	closing    sync.Once
	closeErr   error
}

// Start starts both servers and migrates the database. With a directory that
// was used before it goes on with what is there; a directory that another
// process uses at this moment is refused.
func Start(ctx context.Context, opts Options) (_ *Stack, err error) {
	if opts.Progress == nil {
		opts.Progress = func(string) {}
	}
	bin, err := findPostgres(os.Getenv)
	if err != nil {
		return nil, err
	}
	redisBin, err := locateRedis(opts.EmbeddedRedis)
	if err != nil {
		return nil, err
	}
	as, err := serverAccount()
	if err != nil {
		return nil, err
	}
	s := &Stack{unlock: func() {}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if err := s.settle(as, opts); err != nil {
		return nil, err
	}
	s.Postgres, err = newPostgres(bin, as, PostgresOptions{
		Dir: s.dir, Fsync: opts.Fsync, KeepOnDeath: opts.Dir != "", Settings: opts.Settings,
	})
	if err != nil {
		return nil, err
	}
	if s.Redis, err = newRedis(redisBin, as, RedisOptions{Dir: s.dir}); err != nil {
		return nil, err
	}
	if err := s.engage(opts.Dir == ""); err != nil {
		return nil, err
	}
	opts.Progress("starting Redis")
	if err := s.Redis.Start(ctx); err != nil {
		return nil, err
	}
	cache := ""
	if !opts.NoCache {
		cache = cacheDir()
	}
	if err := s.Postgres.open(ctx, cache, opts.Progress); err != nil {
		return nil, err
	}
	opts.Progress("migrating the database")
	if err := migrations.Up(ctx, s.DatabaseURL()); err != nil {
		return nil, err
	}
	return s, nil
}

// settle makes or takes the directory.
func (s *Stack) settle(as *account, opts Options) (err error) {
	if opts.Dir == "" {
		var places []string
		if opts.InMemory {
			places = append(places, memoryDir())
		}
		s.dir, err = as.tempDir(places...)
		return err
	}
	if s.dir, err = filepath.Abs(opts.Dir); err != nil {
		return fmt.Errorf("resolve directory: %w", err)
	}
	if err := as.makePath(s.dir); err != nil {
		return err
	}
	if err := as.admit(s.dir); err != nil {
		return err
	}
	unlock, err := tryLockFile(filepath.Join(s.dir, "lock"))
	if errors.Is(err, errLocked) {
		return fmt.Errorf("directory %s is in use by another running kairos", s.dir)
	}
	if err != nil {
		return err
	}
	s.unlock = unlock
	return nil
}

// engage sees to it that what is temporary goes when this process goes, and
// that what the kernel doesn't end is ended.
func (s *Stack) engage(temporary bool) (err error) {
	var dirs []string
	if temporary {
		dirs = append(dirs, s.dir)
	}
	if away := s.Postgres.away(); away != "" {
		dirs = append(dirs, away)
	}
	if len(dirs) > 0 {
		s.undertaker, err = hireUndertaker(dirs...)
	}
	return err
}

// DatabaseURL returns the address of the migrated database, for any client.
func (s *Stack) DatabaseURL() string { return s.Postgres.URL("") }

// RedisURL returns the address of Redis.
func (s *Stack) RedisURL() string { return s.Redis.URL() }

// Dir returns the directory that holds the stack's data and logs.
func (s *Stack) Dir() string { return s.dir }

// Close stops both servers in order and removes a temporary directory. Later
// calls return what the first returned.
func (s *Stack) Close() error {
	s.closing.Do(func() {
		var errs []error
		if s.Redis != nil {
			errs = append(errs, s.Redis.Stop(false))
		}
		if s.Postgres != nil {
			// What is thrown away needs no checkpoint.
			errs = append(errs, s.Postgres.Stop(!s.Postgres.opts.KeepOnDeath))
		}
		errs = append(errs, s.undertaker.bury())
		s.unlock()
		s.closeErr = errors.Join(errs...)
	})
	return s.closeErr
}

// open plants the cluster where there is none, starts the server, sets the
// password and makes the database `kairos` from the template.
func (p *Postgres) open(ctx context.Context, cache string, progress func(string)) error {
	if err := p.clearPredecessor(ctx); err != nil {
		return err
	}
	// A cluster counts as planted once this file is there: an interrupted copy
	// is begun again.
	planted := filepath.Join(p.opts.Dir, "planted")
	if _, err := os.Stat(planted); err != nil {
		if err := p.clear(); err != nil {
			return err
		}
		if err := p.plant(ctx, cache, progress); err != nil {
			return err
		}
	}
	progress("starting Postgres")
	if err := p.Start(ctx); err != nil {
		return err
	}
	if _, err := os.Stat(planted); err == nil {
		return nil
	}
	if err := p.furnish(ctx); err != nil {
		return err
	}
	stamp := time.Now().UTC().Format(time.RFC3339)
	if err := os.WriteFile(planted, []byte(stamp+"\n"), 0o600); err != nil {
		return fmt.Errorf("mark cluster as complete: %w", err)
	}
	return nil
}

func (p *Postgres) furnish(ctx context.Context) error {
	// The secret is [A-Z2-7]: it needs no quoting.
	if err := p.exec(ctx, "postgres", "ALTER ROLE "+pgUser+" PASSWORD '"+p.password+"'"); err != nil {
		return fmt.Errorf("set password: %w", err)
	}
	if err := p.exec(ctx, "postgres", "CREATE DATABASE kairos TEMPLATE "+TemplateDatabase+" STRATEGY FILE_COPY"); err != nil {
		return fmt.Errorf("create database: %w", err)
	}
	return nil
}
