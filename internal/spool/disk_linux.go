package spool

import (
	"errors"
	"os"
	"syscall"
)

// datasync returns when the file's bytes, and what is needed to find them, are
// on disk.
func datasync(f *os.File) error {
	for {
		if err := syscall.Fdatasync(int(f.Fd())); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
