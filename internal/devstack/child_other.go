//go:build !linux

package devstack

import "syscall"

// kernelReaps: without a parent-death signal the undertaker ends the children.
const kernelReaps = false

func tieToParent(*syscall.SysProcAttr, syscall.Signal) {}
