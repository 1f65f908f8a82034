package devstack

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"kairos/internal/rig"
	"kairos/migrations"
)

// TemplateDatabase is the database that holds the migrated schema and no rows;
// a new database is a copy of it.
const TemplateDatabase = "kairos_template"

// clusterFormat changes when plant makes clusters another way.
const clusterFormat = "1"

// plant fills p's data directory with a cluster that has the migrated template
// database: a copy of the cached one, or a new one that is then cached. A
// directory that already holds a cluster is left as it is.
func (p *Postgres) plant(ctx context.Context, cache string, progress func(string)) error {
	if _, err := os.Stat(filepath.Join(p.data(), "PG_VERSION")); err == nil {
		return nil
	}
	key, err := p.clusterKey(ctx)
	if err != nil {
		return err
	}
	if cache == "" {
		return p.build(ctx, progress)
	}
	cached := filepath.Join(cache, "pg-"+key)
	unlock, err := lockFile(ctx, filepath.Join(cache, "lock"))
	if err != nil { // no usable cache
		return p.build(ctx, progress)
	}
	if _, err := os.Stat(cached); err == nil {
		now := time.Now()
		_ = os.Chtimes(cached, now, now) // in use: prune keeps it
		unlock()
		if err := p.copyTree(cached, p.data()); err == nil {
			return nil
		}
		if err := p.clear(); err != nil {
			return err
		}
		return p.build(ctx, progress)
	}
	defer unlock() // held while building: processes started together build once
	if err := p.build(ctx, progress); err != nil {
		return err
	}
	p.keep(cache, cached)
	return nil
}

// clusterKey names a cluster by everything that goes into it.
func (p *Postgres) clusterKey(ctx context.Context) (string, error) {
	version, err := exec.CommandContext(ctx, filepath.Join(p.bin, "postgres"), "--version").Output()
	if err != nil {
		return "", fmt.Errorf("ask postgres for its version: %w", err)
	}
	sum := sha256.New()
	_, _ = fmt.Fprintf(sum, "%s\n%s\n%s\n%d\n", clusterFormat, version, p.bin, p.as.id())
	names, err := fs.Glob(migrations.FS, "*.sql")
	if err != nil {
		return "", fmt.Errorf("list migrations: %w", err)
	}
	for _, name := range names {
		text, err := migrations.FS.ReadFile(name)
		if err != nil {
			return "", fmt.Errorf("read migration: %w", err)
		}
		_, _ = fmt.Fprintf(sum, "%s %d\n%s\n", name, len(text), text)
	}
	return hex.EncodeToString(sum.Sum(nil))[:20], nil
}

// build runs initdb and the migrations in p's data directory and stops the
// server again. What it leaves after an error is removed.
func (p *Postgres) build(ctx context.Context, progress func(string)) (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, p.clear())
		}
	}()
	progress("creating a Postgres cluster")
	if err := p.initdb(ctx); err != nil {
		return err
	}
	hba := "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
	if err := p.write("pg_hba.conf", hba); err != nil {
		return err
	}
	builder := &Postgres{opts: PostgresOptions{Dir: p.opts.Dir}, bin: p.bin, as: p.as, sockets: p.sockets, password: p.password}
	if err := builder.Start(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, builder.Stop(err != nil)) }()
	if err := builder.exec(ctx, "postgres", "CREATE DATABASE "+TemplateDatabase); err != nil {
		return fmt.Errorf("create template database: %w", err)
	}
	progress("migrating the template database")
	return migrations.Up(ctx, builder.SocketURL(TemplateDatabase))
}

func (p *Postgres) initdb(ctx context.Context) error {
	runtime.LockOSThread() // see rig.Begin
	defer runtime.UnlockOSThread()
	var out []byte
	var err error
	// C.UTF-8 sorts by bytes and knows the letters of all languages; systems
	// without it get plain C.
	for _, locale := range []string{"C.UTF-8", "C"} {
		cmd := exec.CommandContext(ctx, filepath.Join(p.bin, "initdb"), "-D", p.data(), "-U", pgUser,
			"-E", "UTF8", "--locale="+locale, "--auth=trust", "--no-sync", "--no-instructions", "--wal-segsize=4")
		cmd.Dir = p.data()
		cmd.Env = serverEnv()
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: p.as.credential()}
		rig.Tie(cmd.SysProcAttr, syscall.SIGKILL)
		if out, err = cmd.CombinedOutput(); err == nil {
			return nil
		}
		if !strings.Contains(string(out), "locale") {
			break
		}
	}
	return fmt.Errorf("run initdb: %w: %s", err, strings.Join(strings.Fields(string(out)), " "))
}

func (p *Postgres) write(name, text string) error {
	path := filepath.Join(p.data(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return p.as.own(path)
}

// clear empties the data directory.
func (p *Postgres) clear() error {
	if err := os.RemoveAll(p.data()); err != nil {
		return fmt.Errorf("clear data directory: %w", err)
	}
	return p.as.makeDir(p.data())
}

// keep copies the stopped cluster into the cache, complete or not at all, and
// drops clusters that nobody used for long. A cache that can't be written is
// no error.
func (p *Postgres) keep(cache, cached string) {
	fresh, err := os.MkdirTemp(cache, "new-")
	if err != nil {
		return
	}
	defer func() { _ = os.RemoveAll(fresh) }()
	if err := (&Postgres{}).copyTree(p.data(), fresh); err != nil {
		return
	}
	if err := os.Rename(fresh, cached); err != nil {
		return
	}
	prune(cache, 4, time.Hour)
}

// prune keeps the newest clusters and those used within the last `recent`.
func prune(cache string, newest int, recent time.Duration) {
	dirs, _ := filepath.Glob(filepath.Join(cache, "*-*"))
	used := func(dir string) time.Time {
		info, err := os.Stat(dir)
		if err != nil {
			return time.Time{}
		}
		return info.ModTime()
	}
	slices.SortFunc(dirs, func(a, b string) int { return used(b).Compare(used(a)) })
	for i, dir := range dirs {
		if i >= newest && time.Since(used(dir)) > recent {
			_ = os.RemoveAll(dir)
		}
	}
}

// copyTree copies a stopped cluster into the directory to and hands every file
// to the account. File contents go through copy_file_range where the system has
// it, which shares blocks on file systems that can.
func (p *Postgres) copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case entry.IsDir():
			if err := os.Mkdir(target, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
		case entry.Type().IsRegular():
			if err := copyFile(path, target); err != nil {
				return err
			}
		default:
			return fmt.Errorf("copy cluster: %s is no regular file", rel)
		}
		return p.as.own(target)
	})
}

func copyFile(from, to string) (err error) {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }()
	dst, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	_, err = io.Copy(dst, src)
	return err
}

// cacheDir returns a directory for clusters that only this user can write to,
// or "" when there is none.
func cacheDir() string {
	base, err := os.UserCacheDir()
	if err != nil {
		base = filepath.Join(os.TempDir(), fmt.Sprintf("kairos-cache-%d", os.Geteuid()))
	}
	dir := filepath.Join(base, "kairos", "devstack")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return ""
	}
	// In somebody else's directory there could be somebody else's cluster.
	for _, at := range []string{base, filepath.Dir(dir), dir} {
		info, err := os.Lstat(at)
		if err != nil {
			return ""
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() || info.Mode().Perm()&0o022 != 0 && info.IsDir() {
			return ""
		}
	}
	return dir
}
