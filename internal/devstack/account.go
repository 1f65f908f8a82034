package devstack

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// account is the user that the servers run as. Postgres refuses root, so root
// hands its servers to `postgres` or else to `nobody`; everyone else runs them
// as themselves (nil).
type account struct {
	name     string
	uid, gid int
}

func serverAccount() (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("read account %s: %w", name, err)
		}
		return &account{name, uid, gid}, nil
	}
	return nil, errors.New("postgres refuses to run as root, and there is neither a user `postgres` nor `nobody`: create one with `useradd --system postgres`")
}

func (a *account) credential() *syscall.Credential {
	if a == nil {
		return nil
	}
	return &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
}

// id returns the numeric user id that the servers run as.
func (a *account) id() int {
	if a == nil {
		return os.Geteuid()
	}
	return a.uid
}

// own hands path to the account.
func (a *account) own(path string) error {
	if a == nil {
		return nil
	}
	if err := os.Lchown(path, a.uid, a.gid); err != nil {
		return fmt.Errorf("hand %s to %s: %w", path, a.name, err)
	}
	return nil
}

// makeDir makes a directory (0700) that belongs to the account; an existing
// one is handed over.
func (a *account) makeDir(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	return a.own(path)
}

// makePath makes dir and what is missing above it, so that the account can
// traverse what was made.
func (a *account) makePath(dir string) error {
	mode := fs.FileMode(0o700)
	if a != nil {
		mode = 0o711
	}
	if err := os.MkdirAll(dir, mode); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	return nil
}

// reach says whether the account may enter dir: Postgres needs to traverse
// every directory above its own.
func (a *account) reach(dir string) error {
	if a == nil {
		return nil
	}
	for at := dir; ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("inspect directory: %w", err)
		}
		if err == nil && !a.enters(info) {
			return fmt.Errorf("user %s, which Postgres runs as instead of root, can't enter %s: choose a directory elsewhere or allow it with `chmod o+x %s`", a.name, at, at)
		}
		if at == filepath.Dir(at) {
			return nil
		}
	}
}

func (a *account) enters(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok:
		return true
	case int(st.Uid) == a.uid:
		return info.Mode()&0o100 != 0
	case int(st.Gid) == a.gid:
		return info.Mode()&0o010 != 0
	}
	return info.Mode()&0o001 != 0
}

// tempDir makes a fresh private directory that the account can traverse, in
// the first of the places that lets it.
func (a *account) tempDir(places ...string) (string, error) {
	var last error
	for _, base := range append(places, os.TempDir(), "/tmp", "/var/tmp") {
		if base == "" {
			continue
		}
		if last = a.reach(base); last != nil {
			continue
		}
		dir, err := os.MkdirTemp(base, "kairos-")
		if err != nil {
			last = err
			continue
		}
		if err := a.admit(dir); err != nil {
			_ = os.Remove(dir)
			return "", err
		}
		return dir, nil
	}
	return "", fmt.Errorf("make temporary directory: %w", last)
}

// admit lets the account pass through dir, without letting it list it.
func (a *account) admit(dir string) error {
	if a == nil {
		return nil
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		return fmt.Errorf("open directory to %s: %w", a.name, err)
	}
	return nil
}
