package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// cutter is a proxy before Redis that hangs up instead of passing on a request
// in which a word occurs, as often as it is told.
type cutter struct {
	addr   string
	target string
	word   []byte
	ln     net.Listener
	left   atomic.Int64
	done   atomic.Int64

	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

func newCutter(target, word string) (*cutter, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for redis: %w", err)
	}
	c := &cutter{addr: ln.Addr().String(), target: target, word: []byte(word), ln: ln, conns: map[net.Conn]struct{}{}}
	go func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			go c.serve(in)
		}
	}()
	return c, nil
}

// cut lets the next n requests with the word fail.
func (c *cutter) cut(n int) { c.left.Store(int64(n)) }

// cuts is how many did.
func (c *cutter) cuts() int { return int(c.done.Load()) }

func (c *cutter) serve(in net.Conn) {
	out, err := net.Dial("tcp", c.target)
	if err != nil {
		_ = in.Close()
		return
	}
	for _, conn := range []net.Conn{in, out} {
		c.mu.Lock()
		c.conns[conn] = struct{}{}
		c.mu.Unlock()
	}
	end := func() {
		for _, conn := range []net.Conn{in, out} {
			_ = conn.Close()
			c.mu.Lock()
			delete(c.conns, conn)
			c.mu.Unlock()
		}
	}
	defer end()
	go func() {
		_, _ = io.Copy(in, out)
		end()
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := in.Read(buf)
		if bytes.Contains(buf[:n], c.word) && c.left.Add(-1) >= 0 {
			c.done.Add(1)
			return
		}
		if _, werr := out.Write(buf[:n]); errors.Join(err, werr) != nil {
			return
		}
	}
}

func (c *cutter) close() error {
	err := c.ln.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.conns {
		_ = conn.Close()
	}
	return err
}
