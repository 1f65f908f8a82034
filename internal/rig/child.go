package rig

import (
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// Child is a program that was started and does not outlive this process.
type Child struct {
	PID  int
	done chan struct{}
	err  error // after done
}

// Life says what happens around a child. The zero value is fine for one whose
// output nobody reads.
type Life struct {
	// Orphan is what the child gets when this process dies in any way, where
	// the kernel does that (KernelReaps). Zero: SIGKILL.
	Orphan syscall.Signal
	// Born runs once the child has its id, before Begin returns. An error ends
	// the child, and Begin returns it.
	Born func(pid int) error
	// Live runs while the child does, until its pipes are read to their end.
	Live func()
	// Gone runs after the child's end, before Done says so.
	Gone func()
}

// Begin starts cmd in a process group of its own, so that Ctrl-C on the
// terminal is for this process. It sets what cmd.SysProcAttr needs for that
// and keeps the rest.
func Begin(cmd *exec.Cmd, life Life) (*Child, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	if life.Orphan == 0 {
		life.Orphan = syscall.SIGKILL
	}
	Tie(cmd.SysProcAttr, life.Orphan)
	c := &Child{done: make(chan struct{})}
	started := make(chan error)
	go c.run(cmd, life, started)
	if err := <-started; err != nil {
		return nil, err
	}
	return c, nil
}

// run starts the process and waits for its end, on one operating system thread
// of its own: the kernel's parent-death signal fires when the *thread* that
// forked ends, and the Go runtime ends threads as it likes.
func (c *Child) run(cmd *exec.Cmd, life Life, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		started <- err
		return
	}
	c.PID = cmd.Process.Pid
	if life.Born != nil {
		if err := life.Born(c.PID); err != nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			started <- err
			return
		}
	}
	started <- nil
	if life.Live != nil {
		life.Live()
	}
	c.err = cmd.Wait()
	if life.Gone != nil {
		life.Gone()
	}
	close(c.done)
}

// Done is closed when the child has ended.
func (c *Child) Done() <-chan struct{} { return c.done }

// Err returns how it ended: nil for status 0. Read after Done.
func (c *Child) Err() error { return c.err }

// Alive reports whether it runs.
func (c *Child) Alive() bool {
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

// Ends reports whether the child ends within that time.
func (c *Child) Ends(within time.Duration) bool {
	select {
	case <-c.done:
		return true
	case <-time.After(within):
		return false
	}
}
