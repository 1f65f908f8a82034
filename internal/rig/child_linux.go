package rig

import "syscall"

// KernelReaps says that the kernel ends the children of a process that was killed.
const KernelReaps = true

// Tie has a child get the signal when the thread that starts it ends.
func Tie(attr *syscall.SysProcAttr, signal syscall.Signal) { attr.Pdeathsig = signal }
