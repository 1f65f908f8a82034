package devstack

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"kairos/internal/rig"
)

// undertaker is a small shell that removes directories once this process is
// gone, however it went. It waits on a pipe whose other end only this process
// holds: the kernel closes it at the very moment of death, so there is nothing
// to poll and no pid to mistake. Then it gives the servers that left a pid
// file in the directories five seconds to end (where the kernel doesn't signal
// them, it does), removes the directories and ends.
type undertaker struct {
	cmd  *exec.Cmd
	life *os.File
}

const undertakerScript = `
trap '' INT TERM HUP
reaps=$1; shift
cat >/dev/null
n=0
while [ $n -lt 50 ]; do
	alive=
	for dir in "$@"; do
		for f in "$dir"/*.pid; do
			[ -f "$f" ] || continue
			read -r pid <"$f" || continue
			kill -0 "$pid" 2>/dev/null || continue
			alive=1
			[ $reaps = true ] && continue
			if [ $n -eq 0 ]; then kill -QUIT "$pid"; elif [ $n -eq 40 ]; then kill -KILL "$pid"; fi
		done
	done
	[ -n "$alive" ] || break
	n=$((n+1))
	sleep 0.1
done
rm -rf -- "$@"
`

func hireUndertaker(dirs ...string) (*undertaker, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make pipe: %w", err)
	}
	args := append([]string{"-c", undertakerScript, "kairos-undertaker", fmt.Sprint(rig.KernelReaps)}, dirs...)
	cmd := exec.Command("/bin/sh", args...)
	cmd.Stdin = r // the other end is close-on-exec: no child inherits it
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	_ = r.Close()
	if err != nil {
		_ = w.Close()
		return nil, fmt.Errorf("start undertaker: %w", err)
	}
	return &undertaker{cmd, w}, nil
}

// bury removes the directories now and waits until they are gone.
func (u *undertaker) bury() error {
	if u == nil {
		return nil
	}
	_ = u.life.Close()
	if err := u.cmd.Wait(); err != nil {
		return fmt.Errorf("remove directories: %w", err)
	}
	return nil
}
