package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"
)

// serveHTTP serves on a free port of this machine.
func serveHTTP(h http.Handler) (addr string, stop func(), err error) {
	ln, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, fmt.Errorf("listen: %w", err)
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = srv.Serve(ln) }() // ends with Close
	return ln.Addr().String(), func() { _ = srv.Close() }, nil
}
