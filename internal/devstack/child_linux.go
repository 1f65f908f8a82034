package devstack

import "syscall"

// kernelReaps: the kernel ends the children of a process that was killed.
const kernelReaps = true

func tieToParent(attr *syscall.SysProcAttr, signal syscall.Signal) { attr.Pdeathsig = signal }
