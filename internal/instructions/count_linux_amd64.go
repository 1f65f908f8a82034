package instructions

import (
	"runtime"
	"sync"
	"syscall"
	"unsafe"
)

// stepped is how many instructions the kernel has told of: the handler's alone.
var stepped uint64

// until is where counting goes on after the runtime's look at the stack; 0: it
// counts.
var until uintptr

// one counts at a time: there is one handler for the process.
var one sync.Mutex

func begin()
func end()
func handler()  //nolint:unused // entered by the kernel
func restorer() //nolint:unused // entered by the kernel
func entries() (handler, restorer uintptr)
func thousand()

//go:linkname procPin runtime.procPin
func procPin() int

//go:linkname procUnpin runtime.procUnpin
func procUnpin()

// action is the kernel's struct sigaction (rt_sigaction(2)).
type action struct {
	handler, flags, restorer uintptr
	mask                     uint64
}

const (
	saSigInfo  = 0x4
	saRestorer = 0x4000000
	saOnStack  = 0x8000000
)

func setTrap(to, old *action) syscall.Errno {
	_, _, e := syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(syscall.SIGTRAP), uintptr(unsafe.Pointer(to)), uintptr(unsafe.Pointer(old)), unsafe.Sizeof(to.mask), 0, 0)
	return e
}

// usable: a thousand instructions are counted as a thousand.
var usable = sync.OnceValue(func() bool {
	n := run(thousand) - run(func() {})
	return n > 990 && n < 1010
})

// run returns how many instructions f takes, with a few of its own. The
// goroutine stays on its thread: the flag is the thread's. (A thread that is
// locked makes no others, so none is born with the flag.)
func run(f func()) int {
	one.Lock()
	defer one.Unlock()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var ours, theirs action
	ours.handler, ours.restorer = entries()
	ours.flags, ours.mask = saSigInfo|saRestorer|saOnStack, ^uint64(0)
	if setTrap(&ours, &theirs) != 0 {
		return 0
	}
	defer func() { _ = setTrap(&theirs, nil) }()
	stepped, until = 0, 0
	procPin() // nothing else is scheduled
	defer procUnpin()
	step(f)
	if until != 0 {
		return 0 // it never came back: what was counted is no count
	}
	return int(stepped)
}

// step runs f with the trap flag set, and clears it also when f ends the test.
func step(f func()) {
	defer end()
	begin()
	f()
}
