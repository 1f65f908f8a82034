package devstack

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// PostgresOptions says how a Postgres server is run.
type PostgresOptions struct {
	// Dir is the server's home: data/ (the cluster), run/ (the socket),
	// password and postgres.log. Required; made when it isn't there.
	Dir string
	// Fsync makes commits durable against a crash of the machine. A killed
	// server loses nothing either way.
	Fsync bool
	// KeepOnDeath ends an orphaned server in order (SIGINT) instead of at once
	// (SIGQUIT): for data that will be started again.
	KeepOnDeath bool
	// Settings are added to, and win over, the server's parameters.
	Settings map[string]string
}

// Postgres is a server process on a private socket and a private port of
// 127.0.0.1, with one superuser, `kairos`, and a random password. It can be
// stopped and started again on the same data and the same port. Safe for
// concurrent use.
type Postgres struct {
	opts     PostgresOptions
	bin      string
	as       *account
	sockets  string // directory of the unix socket
	password string

	mu    sync.Mutex
	port  int // 0 before the first start
	child *child
}

const pgUser = "kairos"

// newPostgres makes the directories; the cluster itself comes from plant.
func newPostgres(bin string, as *account, opts PostgresOptions) (*Postgres, error) {
	p := &Postgres{opts: opts, bin: bin, as: as, sockets: filepath.Join(opts.Dir, "run")}
	if err := as.reach(opts.Dir); err != nil {
		return nil, err
	}
	for _, dir := range []string{p.data(), p.sockets} {
		if err := as.makeDir(dir); err != nil {
			return nil, err
		}
	}
	if len(p.socket(65535)) >= socketPathLimit {
		dir, err := as.tempDir()
		if err != nil {
			return nil, err
		}
		p.sockets = filepath.Join(dir, "run")
		if err := as.makeDir(p.sockets); err != nil {
			return nil, err
		}
	}
	var err error
	p.password, err = keptSecret(filepath.Join(opts.Dir, "password"))
	return p, err
}

// socketPathLimit is the size of sun_path on the strictest system (macOS).
const socketPathLimit = 104

func (p *Postgres) data() string { return filepath.Join(p.opts.Dir, "data") }

func (p *Postgres) socket(port int) string {
	return filepath.Join(p.sockets, ".s.PGSQL."+strconv.Itoa(port))
}

// away returns the directory to remove besides Dir: the socket's, when the
// path inside Dir would have been too long.
func (p *Postgres) away() string {
	if dir := filepath.Dir(p.sockets); dir != p.opts.Dir {
		return dir
	}
	return ""
}

// Start starts the server and returns when it accepts connections. A server
// that runs already is left alone.
func (p *Postgres) Start(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.child != nil && p.child.Alive() {
		return nil
	}
	if err := p.clearPredecessor(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute) // crash recovery of a large cluster takes its time
	defer cancel()
	port, fixed, err := p.port, p.port != 0, error(nil)
	for range 5 {
		if !fixed {
			if port, err = freePort(); err != nil {
				return err
			}
		}
		if err = p.launch(ctx, port); err == nil {
			p.port = port
			return nil
		}
		if !strings.Contains(err.Error(), "TCP/IP socket") {
			return err
		}
		// The port was taken between the look and the start.
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
	return err
}

func (p *Postgres) launch(ctx context.Context, port int) error {
	// The log decides about a taken port: begin it anew.
	if err := os.Remove(filepath.Join(p.opts.Dir, "postgres.log")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove log: %w", err)
	}
	orphan := syscall.SIGQUIT
	if p.opts.KeepOnDeath {
		orphan = syscall.SIGINT
	}
	c, err := startChild(childSpec{
		name: "postgres", dir: p.data(), path: filepath.Join(p.bin, "postgres"),
		args: p.arguments(port), as: p.as, orphan: orphan,
	})
	if err != nil {
		return err
	}
	// Line 8 of postmaster.pid is the server's state (src/include/utils/pidfile.h).
	err = c.await(ctx, func() bool {
		raw, err := os.ReadFile(filepath.Join(p.data(), "postmaster.pid"))
		if err != nil {
			return false
		}
		lines := strings.Split(string(raw), "\n")
		return len(lines) > 7 && lines[0] == strconv.Itoa(c.PID) && strings.TrimSpace(lines[7]) == "ready"
	})
	if err != nil {
		return errors.Join(err, c.stop(atOnce...))
	}
	p.child = c
	return nil
}

func (p *Postgres) arguments(port int) []string {
	settings := map[string]string{
		"listen_addresses":        "127.0.0.1",
		"port":                    strconv.Itoa(port),
		"unix_socket_directories": p.sockets,
		"max_connections":         "200",
		"shared_buffers":          "128MB",
		"jit":                     "off", // costs more than it gives on queries of milliseconds
		"wal_level":               "minimal",
		"max_wal_senders":         "0",
		"max_wal_size":            "2GB",
		"log_min_messages":        "warning",
		"log_timezone":            "UTC",
		"timezone":                "UTC",
	}
	if !p.opts.Fsync {
		settings["fsync"] = "off"
		settings["full_page_writes"] = "off"
	}
	for name, value := range p.opts.Settings {
		settings[name] = value
	}
	args := []string{"-D", p.data()}
	for name, value := range settings {
		args = append(args, "-c", name+"="+value)
	}
	return args
}

var (
	inOrder = []stopStep{{syscall.SIGINT, 15 * time.Second}, {syscall.SIGQUIT, 5 * time.Second}, {syscall.SIGKILL, 5 * time.Second}}
	atOnce  = []stopStep{{syscall.SIGQUIT, 5 * time.Second}, {syscall.SIGKILL, 5 * time.Second}}
)

// Stop ends the server: in order (sessions cut, checkpoint written), or with
// immediate as a crash would, so that the next Start has to recover. A server
// that doesn't run is no error.
func (p *Postgres) Stop(immediate bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.child == nil {
		return nil
	}
	steps := inOrder
	if immediate {
		steps = atOnce
	}
	if err := p.child.stop(steps...); err != nil {
		return err
	}
	p.child = nil
	return nil
}

// PID returns the postmaster's process id, 0 when it doesn't run.
func (p *Postgres) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.child == nil || !p.child.Alive() {
		return 0
	}
	return p.child.PID
}

// URL returns the address of a database over TCP, for any client; it stays the
// same over Stop and Start. Empty name: "kairos".
func (p *Postgres) URL(name string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(pgUser, p.password),
		Host: "127.0.0.1:" + strconv.Itoa(p.port), Path: "/" + databaseOr(name), RawQuery: "sslmode=disable",
	}
	return u.String()
}

// SocketURL is URL over the unix socket, which needs no password and connects
// faster; only this user, and root, can reach it.
func (p *Postgres) SocketURL(name string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	query := url.Values{"host": {p.sockets}, "port": {strconv.Itoa(p.port)}, "user": {pgUser}, "sslmode": {"disable"}}
	return "postgres:///" + databaseOr(name) + "?" + query.Encode()
}

func databaseOr(name string) string {
	if name == "" {
		return "kairos"
	}
	return url.PathEscape(name)
}

// exec runs one statement as superuser on a connection of its own.
func (p *Postgres) exec(ctx context.Context, database, statement string) error {
	conn, err := pgx.Connect(ctx, p.SocketURL(database))
	if err != nil {
		return fmt.Errorf("reach postgres: %w", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, statement)
	return err
}

// keptSecret reads a secret from path, or makes one and writes it there.
func keptSecret(path string) (string, error) {
	raw, err := os.ReadFile(path)
	if err == nil && len(raw) > 0 {
		return string(raw), nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read secret: %w", err)
	}
	secret := rand.Text()
	if err := os.WriteFile(path, []byte(secret), 0o600); err != nil {
		return "", fmt.Errorf("keep secret: %w", err)
	}
	return secret, nil
}
