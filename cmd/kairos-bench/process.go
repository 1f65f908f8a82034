package main

import (
	"context"
	"fmt"
	"os"

	"kairos/internal/rig"
)

// process is a child that dies with this one.
type process struct {
	*rig.Process
	pprof string // file with the address of its profiles; "": it has none
}

// self starts another process of this program as one of its parts.
func (w *world) self(ctx context.Context, name string, args ...string) (*process, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	return w.start(ctx, rig.Program{
		Name: name, Log: fmt.Sprintf("%s/%s-%d.log", w.dir, name, len(w.procs)), Env: append(os.Environ(), asPart+"=1"), Path: path, Args: args,
	})
}

// start starts a program that the world ends.
func (w *world) start(ctx context.Context, prog rig.Program) (*process, error) {
	r, err := rig.Start(ctx, prog)
	if err != nil {
		return nil, err
	}
	p := &process{Process: r}
	w.procs = append(w.procs, p)
	return p, nil
}
