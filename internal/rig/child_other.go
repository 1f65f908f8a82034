//go:build !linux

package rig

import "syscall"

// KernelReaps is false: without a parent-death signal somebody else must end the children.
const KernelReaps = false

// Tie does nothing here.
func Tie(*syscall.SysProcAttr, syscall.Signal) {}
