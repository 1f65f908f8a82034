//go:build !linux

package spool

import "os"

// datasync returns when the file is on disk. On macOS Sync is F_FULLFSYNC.
func datasync(f *os.File) error { return f.Sync() }
