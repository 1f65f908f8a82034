package spool

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// Op names a file operation for Options.Fault.
type Op string

// The operations, in the order in which a record meets them.
const (
	OpCreate  Op = "create"
	OpWrite   Op = "write"
	OpSync    Op = "sync"
	OpSyncDir Op = "syncdir"
	OpRename  Op = "rename"
	OpCut     Op = "cut"
	OpRemove  Op = "remove"
)

// disk is the operating system's files with a place for faults.
type disk struct {
	fault func(Op, string) error
}

func (d disk) check(op Op, path string) error {
	if d.fault == nil {
		return nil
	}
	return d.fault(op, path)
}

func (d disk) create(path string, flag int) (*os.File, error) {
	if err := d.check(OpCreate, path); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE|flag, 0o600)
}

func (d disk) writeAt(f *os.File, b []byte, off int64) error {
	if err := d.check(OpWrite, f.Name()); err != nil {
		return err
	}
	_, err := f.WriteAt(b, off)
	return err
}

func (d disk) sync(f *os.File) error {
	if err := d.check(OpSync, f.Name()); err != nil {
		return err
	}
	return datasync(f)
}

func (d disk) syncDir(dir string) error {
	if err := d.check(OpSyncDir, dir); err != nil {
		return err
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = f.Sync()
	_ = f.Close()
	return err
}

func (d disk) rename(from, to string) error {
	if err := d.check(OpRename, from); err != nil {
		return err
	}
	return os.Rename(from, to)
}

func (d disk) cut(f *os.File, size int64) error {
	if err := d.check(OpCut, f.Name()); err != nil {
		return err
	}
	return f.Truncate(size)
}

func (d disk) remove(path string) error {
	if err := d.check(OpRemove, path); err != nil {
		return err
	}
	return os.Remove(path)
}

// lockDir takes the directory for this process until the file is closed or the
// process ends in whatever way.
func lockDir(dir string) (*os.File, error) {
	path := dir + "/lock"
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open spool lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		owner, _ := os.ReadFile(path)
		return nil, fmt.Errorf("lock %s (held by process %q; give each process its own directory): %w",
			path, strings.TrimSpace(string(owner)), ErrInUse)
	}
	// The pid is a courtesy to whoever reads the error above; a full disk may refuse it.
	if f.Truncate(0) == nil {
		_, _ = fmt.Fprintln(f, os.Getpid())
	}
	return f, nil
}
