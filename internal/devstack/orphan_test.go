package devstack_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"kairos/internal/devstack"
)

// The tests here start the test binary again, as a process to be killed. Which
// part that process plays is in this variable.
const partVariable = "KAIROS_DEVSTACK_TEST_PART"

type report struct {
	Dir     string
	URL     string
	Servers []int
}

// TestPart is the other process; on its own it has nothing to check.
func TestPart(t *testing.T) {
	var r report
	switch os.Getenv(partVariable) {
	case "":
		t.Skip("runs only as a part of the other tests of this file")
	case "stack":
		s, err := devstack.Start(context.Background(), devstack.Options{Dir: os.Getenv("DIR")})
		require.NoError(t, err)
		r = report{s.Dir(), s.DatabaseURL(), []int{s.Postgres.PID(), s.Redis.PID()}}
	case "tests":
		url := devstack.NewDBURL(t)
		dir, pid := shared(t, url)
		r = report{dir, url, []int{pid}}
	case "bare": // no Postgres on the machine
		devstack.NewDB(t)
	case "pass":
		devstack.NewDB(t)
		dir, pid := shared(t, devstack.NewDBURL(t))
		r = report{dir, "", []int{pid}}
		require.NoError(t, json.NewEncoder(os.Stdout).Encode(r))
		return
	}
	require.NoError(t, json.NewEncoder(os.Stdout).Encode(r))
	_, err := os.Stdin.Read(make([]byte, 1)) // until killed
	require.NoError(t, err)
}

// shared asks the server that belongs to the test process where it stands.
func shared(t *testing.T, url string) (dir string, pid int) {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, url)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(ctx)) }()
	require.NoError(t, conn.QueryRow(ctx, `SHOW data_directory`).Scan(&dir))
	line, err := os.ReadFile(filepath.Join(filepath.Dir(dir), "postgres.pid"))
	require.NoError(t, err)
	pid, err = strconv.Atoi(string(line[:len(line)-1]))
	require.NoError(t, err)
	return dir, pid
}

func play(t *testing.T, part string, attr *syscall.SysProcAttr, env ...string) (*exec.Cmd, report) {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	if attr != nil { // the other user can't read the directory that go test builds in
		exe = publicCopy(t, exe)
	}
	cmd := exec.Command(exe, "-test.run=^TestPart$")
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), append(env, partVariable+"="+part)...)
	cmd.SysProcAttr = attr
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	var r report
	line, err := bufio.NewReader(out).ReadBytes('\n')
	require.NoError(t, err, "the other process says: %s", line)
	require.NoError(t, json.Unmarshal(line, &r), "the other process says: %s", line)
	require.NotEmpty(t, r.Servers)
	return cmd, r
}

func publicCopy(t *testing.T, exe string) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "kairos-test-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755))
	raw, err := os.ReadFile(exe)
	require.NoError(t, err)
	exe = filepath.Join(dir, "devstack.test")
	require.NoError(t, os.WriteFile(exe, raw, 0o755))
	return exe
}

func kill9(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait() // says "killed"
}

// ended says whether the process is gone; a zombie that nobody collects is.
func ended(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return true
	}
	_, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "cwd"))
	return errors.Is(err, os.ErrNotExist)
}

func requireGone(t *testing.T, r report) {
	t.Helper()
	for _, pid := range r.Servers {
		require.NotZero(t, pid)
		require.Eventually(t, func() bool { return ended(pid) }, 15*time.Second, 10*time.Millisecond, "server %d outlives its parent", pid)
	}
}

func requireNoDir(t *testing.T, dir string) {
	t.Helper()
	require.Eventually(t, func() bool {
		_, err := os.Stat(dir)
		return errors.Is(err, os.ErrNotExist)
	}, 15*time.Second, 10*time.Millisecond, "directory %s stays", dir)
}

func TestKilledParentLeavesNothing(t *testing.T) {
	for _, part := range []string{"stack", "tests"} {
		t.Run(part, func(t *testing.T) {
			cmd, r := play(t, part, nil)
			for _, pid := range r.Servers {
				require.False(t, ended(pid))
			}
			kill9(t, cmd)
			requireGone(t, r)
			requireNoDir(t, r.Dir)
		})
	}
}

func TestFinishedTestProcessLeavesNothing(t *testing.T) {
	cmd, r := play(t, "pass", nil)
	require.NoError(t, cmd.Wait())
	requireGone(t, r)
	requireNoDir(t, r.Dir)
}

// keptDir returns a directory that outlasts a stack and that the account of
// root's servers can traverse, which it can't t.TempDir.
func keptDir(t *testing.T) string {
	t.Helper()
	base, err := os.MkdirTemp("/tmp", "kept-")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(base, 0o711))
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(base)) })
	return base
}

func TestKilledParentKeepsNamedDirectory(t *testing.T) {
	ctx := context.Background()
	dir := filepath.Join(keptDir(t), "stack")
	cmd, r := play(t, "stack", nil, "DIR="+dir)
	conn, err := pgx.Connect(ctx, r.URL)
	require.NoError(t, err)
	_, err = conn.Exec(ctx, `CREATE TABLE kept AS SELECT 42 AS n`)
	require.NoError(t, err)
	kill9(t, cmd)
	_ = conn.Close(ctx)

	// At once: the orphan may still be shutting down.
	s, err := devstack.Start(ctx, devstack.Options{Dir: dir})
	require.NoError(t, err)
	require.Equal(t, 42, answer(t, s.DatabaseURL()))

	// Both killed, as when the machine is out of memory: postmaster.pid stays.
	require.NoError(t, syscall.Kill(s.Postgres.PID(), syscall.SIGKILL))
	require.Eventually(t, func() bool { return s.Postgres.PID() == 0 }, 10*time.Second, 10*time.Millisecond)
	require.FileExists(t, filepath.Join(dir, "data", "postmaster.pid"))
	require.NoError(t, s.Close())

	// And the number is another process's by now: this one's.
	pidFile := filepath.Join(dir, "data", "postmaster.pid")
	raw, err := os.ReadFile(pidFile)
	require.NoError(t, err)
	_, rest, _ := cutLine(string(raw))
	require.NoError(t, os.WriteFile(pidFile, []byte(strconv.Itoa(os.Getpid())+"\n"+rest), 0o600))
	s, err = devstack.Start(ctx, devstack.Options{Dir: dir})
	require.NoError(t, err)
	require.Equal(t, 42, answer(t, s.DatabaseURL()))
	require.NoError(t, s.Close())
	require.DirExists(t, dir)
}

func cutLine(s string) (first, rest string, found bool) {
	for i := range s {
		if s[i] == '\n' {
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

func answer(t *testing.T, url string) (n int) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, url)
	require.NoError(t, err)
	require.NoError(t, conn.QueryRow(ctx, `SELECT n FROM kept`).Scan(&n))
	require.NoError(t, conn.Close(ctx))
	return n
}

func TestRunsAsAnotherUserToo(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("this process is another user already; only root can become one")
	}
	nobody, err := user.Lookup("nobody")
	require.NoError(t, err)
	uid, err := strconv.Atoi(nobody.Uid)
	require.NoError(t, err)
	gid, err := strconv.Atoi(nobody.Gid)
	require.NoError(t, err)
	attr := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	// No home, hence no cache: it does without.
	cmd, r := play(t, "stack", attr, "HOME=/nonexistent", "XDG_CACHE_HOME=", "TMPDIR=/tmp")
	info, err := os.Stat(filepath.Join("/proc", strconv.Itoa(r.Servers[0])))
	require.NoError(t, err)
	require.EqualValues(t, uid, info.Sys().(*syscall.Stat_t).Uid)
	kill9(t, cmd)
	requireGone(t, r)
	requireNoDir(t, r.Dir)
}

func TestRootsServersDontRunAsRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root has servers that run as somebody else")
	}
	s, err := devstack.Start(context.Background(), devstack.Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	for _, pid := range []int{s.Postgres.PID(), s.Redis.PID()} {
		info, err := os.Stat(filepath.Join("/proc", strconv.Itoa(pid)))
		require.NoError(t, err)
		require.NotZero(t, info.Sys().(*syscall.Stat_t).Uid)
	}
}

func TestMissingPostgresFailsTheTestInOneLine(t *testing.T) {
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(exe, "-test.run=^TestPart$")
	cmd.Env = append(os.Environ(), partVariable+"=bare", devstack.PGBinDirVariable+"=/nonexistent")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, "a test without Postgres must not pass: %s", out)
	require.Contains(t, string(out), "install them with `apt-get install postgresql` or set KAIROS_PG_BINDIR")
}

func TestSharedServerLeavesOneKnownGoroutine(t *testing.T) {
	devstack.NewDBURL(t)
	goleak.VerifyNone(t, goleak.IgnoreAnyFunction(devstack.Goroutine))
	require.Error(t, goleak.Find(), "the name is still needed")
}
